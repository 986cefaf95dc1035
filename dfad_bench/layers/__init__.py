"""Torch blocks that two models or more share; one idea a file."""
