"""Benchmark tasks run by lm-evaluation-harness, their scores beside a random guess, and their report."""
