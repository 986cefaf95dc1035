"""Gaze of faces: estimators, side tables, and the comparison of real with forged faces."""
