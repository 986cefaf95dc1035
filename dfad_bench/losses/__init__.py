"""Losses that two or more models share, or that a paper names; functions of tensors."""
