"""Keeping users' files safe: who wrote a file, one writer at a time, folders complete or absent, clean stops.

Knows files and processes, but nothing about models, agents or commands.
"""
