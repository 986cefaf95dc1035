"""The ablations that have a model name of their own; `ablations.py` lists all of them as settings."""

from __future__ import annotations

from dataclasses import replace

from gazeclip.ablations import VARIANTS
from gazeclip.model import GazeCLIP


class GazeCLIPNoGaze(GazeCLIP):
    """Table XIII, "w/o Gaze": no gaze token, no injectors."""

    card = replace(GazeCLIP.card, display="GazeCLIP w/o gaze")
    preset = VARIANTS["no_gaze"].changes


class GazeCLIPNoGI(GazeCLIP):
    """Table XIII, "w/o GI": the gaze token stays in the AGPM, the injectors go."""

    card = replace(GazeCLIP.card, display="GazeCLIP w/o GI")
    preset = VARIANTS["no_gi"].changes


class GazeCLIPNoLRE(GazeCLIP):
    """Table VI, AGPM + GE + GIE: trained without text."""

    card = replace(GazeCLIP.card, display="GazeCLIP w/o LRE")
    preset = VARIANTS["agpm_ge_gie"].changes


class GazeCLIPNoAWS(GazeCLIP):
    """Table IX, "w/o AWS": CLIP's text blocks as they are."""

    card = replace(GazeCLIP.card, display="GazeCLIP w/o AWS")
    preset = VARIANTS["no_aws"].changes
