"""The rows of the paper's ablation tables as settings, and the few of them that have a model name of their own.

Any row can be trained as `--model gazeclip --set variant=NAME`, any single setting as `--set gi_query=patch`.
Table V (gaze estimators) is chosen by `--estimator`; Table IX's CLIP rows and Table XI's learnable prompt are not
built, nor is Table XIII's fine-tuned gaze encoder, which would need the estimator inside the training graph.
"""

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
