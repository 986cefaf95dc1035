"""Criteria that two models or more share, or that a paper names; callable on tensors."""
