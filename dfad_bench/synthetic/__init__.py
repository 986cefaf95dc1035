"""Procedural portraits with a known gaze, and stand-ins for families of generators; see `layout.synthesize`."""

from __future__ import annotations

from dfad_bench.synthetic.generators import GAZE_NOISE_RAD, GENERATORS
from dfad_bench.synthetic.layout import synthesize

__all__ = ["GAZE_NOISE_RAD", "GENERATORS", "synthesize"]
