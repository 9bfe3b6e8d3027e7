"""Keeping what users have: who wrote a file, one writer at a time, folders that are whole or absent, clean stops.

Knows files and processes, and nothing of models, agents or commands.
"""
