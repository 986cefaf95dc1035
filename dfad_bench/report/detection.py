"""The detection numbers of a set of predictions; which faces form which set is said in `report.score`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.metrics import METRICS
from dfad_bench.report.face_set import FaceSet, Part
from dfad_bench.report.scored_faces import Faces, Number, missing_label
from dfad_bench.report.set_numbers import macro_number, part_number, pooled_number

PROCESSED = "processed"  # the set of processed real faces
NO_PROCESSED = "no processed real faces"


def detection_numbers(faces: Faces, *, suffix: str = "") -> list[Number]:
    """Every detection metric of the table on both sets: pooled ones first, then those by group with their mean.

    `suffix` is put behind the names of sets and groups: rows of `faces` may be videos.
    """
    numbers = []
    for subset, keys in (("unseen", faces.unseen), ("seen", faces.seen)):
        fakes = [key for key in keys if faces.detection_label_of[key] == FAKE]
        reals = [key for key in keys if faces.detection_label_of[key] == REAL]
        reals = reals or [key for key in faces.seen if faces.detection_label_of[key] == REAL]
        chosen = _face_set(faces, subset, fakes, reals, suffix)
        numbers += [pooled_number(chosen, name) for name in chosen.metrics if "pooled" in METRICS[name].averaging]
        for name in chosen.metrics:
            if "macro" in METRICS[name].averaging:
                numbers += [part_number(chosen, name, part) for part in chosen.parts]
                numbers.append(macro_number(chosen, name))
    return [*numbers, *_false_alarms(faces, suffix)]


def _false_alarms(faces: Faces, suffix: str) -> list[Number]:
    """The share of processed real faces called forged: of all, of each group, and the mean over groups.

    Null where no such face was predicted, never 0.
    """
    chosen = FaceSet(
        faces,
        "detection",
        PROCESSED + suffix,
        tuple(name for name, metric in METRICS.items() if metric.on == "processed"),
        faces.of(faces.processed),
        tuple(faces.processed),
        tuple(Part(key + suffix, faces.of([key]), (key,)) for key in faces.processed),
        lambda chosen: {"p_fake": faces.p_fake[chosen]},
        missing_reason=lambda needs, chosen: None if len(chosen) else NO_PROCESSED,
        no_parts=NO_PROCESSED,
    )
    numbers = []
    for name in chosen.metrics:
        numbers += [pooled_number(chosen, name), *(part_number(chosen, name, part) for part in chosen.parts)]
        numbers.append(macro_number(chosen, name))
    return numbers


def _face_set(faces: Faces, subset: str, fakes: list[str], reals: list[str], suffix: str) -> FaceSet:
    """Forged groups against real ones."""

    def arrays(chosen: np.ndarray) -> dict[str, Any]:
        p_fake = faces.p_fake[chosen]
        return {"labels": faces.truth[chosen], "p_fake": p_fake, "scores": p_fake}

    def missing_reason(needs: str, chosen: np.ndarray) -> str | None:
        needs = "any" if faces.earlier and needs == "classes" else needs
        return missing_label(faces.truth[chosen], needs)

    return FaceSet(
        faces,
        "detection",
        subset + suffix,
        tuple(name for name, metric in METRICS.items() if metric.on == "detection"),
        faces.of([*fakes, *reals]),
        (*fakes, *reals),
        tuple(Part(key + suffix, faces.of([key, *reals]), (key, *reals)) for key in fakes),
        arrays,
        missing_reason=missing_reason,
        params={"reals": reals},
        positive=faces.truth == FAKE,
        scores=faces.p_fake,
        classes=("forged sources", "real sources"),
    )
