"""Gaze estimators by name: adding one is its file and a line here."""

ESTIMATORS = {
    "eth_xgaze": "dfad_bench.gaze.estimators.eth_xgaze:EthXGazeEstimator",
    "geometric": "dfad_bench.gaze.estimators.geometric:GeometricEstimator",
    "mediapipe": "dfad_bench.gaze.estimators.mediapipe:MediapipeEstimator",
    "puregaze": "dfad_bench.gaze.estimators.puregaze:PureGazeEstimator",
    "unigaze": "dfad_bench.gaze.estimators.unigaze:UniGazeEstimator",
}
ALIASES = {"park": "faze"}  # GazeCLIP's Table V calls it by its first author
