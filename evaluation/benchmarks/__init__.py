"""Benchmark tasks run by lm-evaluation-harness, their scores next to a random guess, and their report."""
