"""Scores and tables of corrupted faces."""
