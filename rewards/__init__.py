"""Scoring text: the gold preference, simulated annotators, learned preferences, KL and Python functions.

Nothing is imported here; import the module that you need, so that a Python reward needs no torch.
"""
