"""prefgym: writing text as a Markov decision process, rewarded by a learned human preference minus a KL term."""
