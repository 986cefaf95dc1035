"""Gaze estimators by name; to add one, add its file and a line here."""

ESTIMATORS = {
    "eth_xgaze": "dfad_bench.gaze.estimators.eth_xgaze:EthXGazeEstimator",
    "faze": "dfad_bench.gaze.estimators.faze:FazeEstimator",
    "geometric": "dfad_bench.gaze.estimators.geometric:GeometricEstimator",
    "l2cs": "dfad_bench.gaze.estimators.l2cs:L2CSEstimator",
    "mediapipe": "dfad_bench.gaze.estimators.mediapipe:MediapipeEstimator",
    "mobilegaze": "dfad_bench.gaze.estimators.mobilegaze:MobileGazeEstimator",
    "puregaze": "dfad_bench.gaze.estimators.puregaze:PureGazeEstimator",
    "unigaze": "dfad_bench.gaze.estimators.unigaze:UniGazeEstimator",
}
ALIASES = {"park": "faze"}  # GazeCLIP's Table V calls it by its first author
