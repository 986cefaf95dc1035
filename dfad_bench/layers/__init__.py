"""Torch blocks that two or more models share; one idea per file."""
