"""Gaze estimators by name: adding one is its file and a line here."""

ESTIMATORS = {
    "geometric": "dfad_bench.gaze.estimators.geometric:GeometricEstimator",
    "mediapipe": "dfad_bench.gaze.estimators.mediapipe:MediapipeEstimator",
}
ALIASES = {"park": "faze"}  # GazeCLIP's Table V calls it by its first author
