"""dfad_bench: fine-grained deepfake attribution and detection (DFAD) under identical protocols."""

__version__ = "0.1.0"
