"""Runs under fire: killed at any file operation, on a full disk, over somebody's files, with bad input."""
