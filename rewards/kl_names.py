"""The names of the KL estimators, for those that read options and load no torch; ``kl.py`` has the estimators."""

KL_ESTIMATORS = ("k1", "k2", "k3", "exact")
