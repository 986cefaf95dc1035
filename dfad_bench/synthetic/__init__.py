"""Procedural portraits with a known gaze, and stand-ins for families of generators; see `layout.synthesize`."""

from __future__ import annotations

from dfad_bench.synthetic.generators import GAZE_NOISE_RAD, GENERATORS
from dfad_bench.synthetic.layout import synthesize
from dfad_bench.synthetic.unseen_generators import ALL_GENERATORS, UNSEEN_GENERATORS

__all__ = ["ALL_GENERATORS", "GAZE_NOISE_RAD", "GENERATORS", "UNSEEN_GENERATORS", "synthesize"]
