"""Predictions that were made elsewhere, to the folder of a run."""
