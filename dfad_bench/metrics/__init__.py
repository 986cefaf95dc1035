"""Metrics: pure functions from arrays to a float, found by name.

Scoring computes what is in `METRICS`: each entry on the set and with the averaging it says, in this order. A metric
is one new file in this folder and one line here.
"""

from __future__ import annotations

from dfad_bench.metrics.entry import SCORED, SETS, Metric

__all__ = ["METRICS", "SCORED", "SETS", "Metric"]

_HERE = "dfad_bench.metrics"
_NAMED_RIGHTLY = f"{_HERE}.openset:named_rightly"
_BELOW_THRESHOLD = f"{_HERE}.openset:below_threshold"
_CALLED_RIGHTLY = f"{_HERE}.detection:called_rightly"
_CALLED_FAKE = f"{_HERE}.detection:called_fake"
_HITS = f"{_HERE}.retrieval:prototype_retrieval"

METRICS: dict[str, Metric] = {
    "seen_accuracy": Metric(
        f"{_HERE}.openset:seen_accuracy", True, "share", on="seen", averaging=("macro",), per_face=_NAMED_RIGHTLY
    ),
    "unseen_accuracy": Metric(
        f"{_HERE}.openset:unseen_accuracy", True, "share", on="unseen", averaging=("macro",),
        per_face=_BELOW_THRESHOLD, near_far=True,
    ),
    "auroc": Metric(
        f"{_HERE}.openset:auroc", True, "share", on="ranking", averaging=("pooled", "macro"), draws="auc", near_far=True
    ),
    "oscr": Metric(
        f"{_HERE}.openset:oscr", True, "share", on="ranking", averaging=("pooled", "macro"), draws="oscr"
    ),
    "fpr95": Metric(
        f"{_HERE}.openset:fpr95", False, "share", on="ranking", averaging=("pooled",), draws="fpr95",
        note="seen faces are the positive class: unseen faces accepted where 95 % of the seen ones are;"
        " OpenOOD's FPR@95 is fpr95_openood",
    ),
    "fpr95_openood": Metric(
        f"{_HERE}.openset:fpr95_openood", False, "share", on="ranking", averaging=("pooled",), draws="fpr95_openood",
        main=False, note="unseen faces are the positive class, as in OpenOOD: seen faces rejected where 95 % of the"
        " unseen ones are",
    ),
    "accuracy": Metric(
        f"{_HERE}.detection:accuracy", True, "share", on="detection", averaging=("pooled",), needs="classes",
        per_face=_CALLED_RIGHTLY,
    ),
    "balanced_accuracy": Metric(
        f"{_HERE}.detection:balanced_accuracy", True, "share", on="detection", averaging=("pooled",), needs="both",
        per_face=_CALLED_RIGHTLY,
    ),
    "tpr": Metric(
        f"{_HERE}.detection:tpr", True, "share", on="detection", averaging=("pooled",), needs="forged",
        per_face=_CALLED_RIGHTLY, main=False, note="forged faces are the positive class",
    ),
    "tnr": Metric(
        f"{_HERE}.detection:tnr", True, "share", on="detection", averaging=("pooled",), needs="real",
        per_face=_CALLED_RIGHTLY, main=False, note="forged faces are the positive class, real ones the negative",
    ),
    "auc": Metric(
        f"{_HERE}.detection:auc", True, "share", on="detection", averaging=("pooled", "macro"), needs="both",
        draws="auc",
    ),
    "ap": Metric(
        f"{_HERE}.detection:ap", True, "share", on="detection", averaging=("pooled",), needs="both", draws="ap",
        note="forged faces are the positive class; a constant score gets their share",
    ),
    "eer": Metric(
        f"{_HERE}.detection:eer", False, "share", on="detection", averaging=("pooled",), needs="both", draws="eer"
    ),
    "ece": Metric(
        f"{_HERE}.detection:ece", False, "share", on="detection", averaging=("pooled",), needs="classes",
        settings={"bins": 15}, draws="ece", biased=True, main=False,
    ),
    "false_alarms": Metric(
        f"{_HERE}.detection:false_alarms", False, "share", on="processed", averaging=("pooled", "macro"),
        per_face=_CALLED_FAKE, note="of processed real faces, the share called forged at 0.5; these are in no other"
        " number",
    ),
    "prototype_retrieval": Metric(
        f"{_HERE}.retrieval:retrieval_share", True, "share", on="retrieval", averaging=("macro",), per_face=_HITS,
        main=False,
    ),
    "frechet_distance": Metric(
        f"{_HERE}.frechet:gaussian_frechet_2d", False, "rad^2", on="gaze-distributions", averaging=("pooled",)
    ),
    "paired_cosine": Metric(
        f"{_HERE}.cosine:mean_cosine", True, "cosine", on="gaze-pairs", averaging=("pooled",),
        per_face=f"{_HERE}.cosine:pair_cosines",
    ),
}  # fmt: skip
