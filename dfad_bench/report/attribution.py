"""The attribution numbers of a set of predictions; which faces form which set is said in `report.score`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE, Family, ForgeryType
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import Sweep
from dfad_bench.core.taxonomy import Generator
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.entry import On
from dfad_bench.metrics.openset import below_threshold
from dfad_bench.report.face_set import FaceSet, Part
from dfad_bench.report.scored_faces import Faces, Number
from dfad_bench.report.set_numbers import macro_number, part_number, pooled_number

SWEEP = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.97, 0.99)
_REGISTERED = 0.5  # share of a generator's sources that are registered for retrieval
NEARNESS = ("near", "far", "near-family", "far-family", "near-forgery", "far-forgery")


def attribution_numbers(faces: Faces, *, suffix: str = "") -> list[Number]:
    """Every attribution metric of the table: on seen faces, on unseen ones, seen against unseen, retrieval.

    `suffix` is put behind the names of sets and groups: rows of `faces` may be videos.
    """
    seen = _groups_set(faces, "seen", "seen", faces.seen, suffix=suffix)
    numbers = [n for name in seen.metrics for n in (*_part_numbers(seen, name), *_set_numbers(seen, name))]
    subsets = {"unseen": faces.averaged, **_near_and_far(faces)}
    for threshold in faces.protocol.attribution.thresholds:
        for name in _metrics_on("unseen"):
            every = _groups_set(faces, "unseen", "unseen", faces.unseen, threshold, only=(name,), suffix=suffix)
            numbers += _part_numbers(every, name)
            for subset, keys in subsets.items():
                if subset == "unseen" or METRICS[name].near_far:
                    mean_of = _groups_set(faces, "unseen", subset, keys, threshold, only=(name,), suffix=suffix)
                    numbers += _set_numbers(mean_of, name)
    for subset, keys in subsets.items():
        chosen = _ranking_set(faces, subset, keys, suffix)
        for name in chosen.metrics:
            numbers += [*(_part_numbers(chosen, name) if subset == "unseen" else []), *_set_numbers(chosen, name)]
    for subset, keys in (("unseen", faces.averaged), ("all", [*faces.seen, *faces.averaged])):
        chosen = _retrieval_set(faces, subset, keys, suffix)
        numbers += [number for name in chosen.metrics for number in _set_numbers(chosen, name)]
    return numbers


def sweep(faces: Faces) -> Sweep:
    """Unseen and seen shares at many thresholds, those of the protocol among them."""
    thresholds = tuple(sorted({*SWEEP, *faces.protocol.attribution.thresholds}))
    groups = {key: faces.of([key]) for key in (*faces.seen, *faces.averaged)}
    unseen = METRICS["unseen_accuracy"]

    def mean(keys: Sequence[str], hits: np.ndarray) -> float | None:
        return float(np.mean([hits[groups[key]].mean() for key in keys])) if keys else None

    def unseen_below(threshold: float) -> float | None:
        chosen = _groups_set(faces, "unseen", "unseen", faces.averaged, threshold)
        return chosen.mean_value(unseen, np.flatnonzero(chosen.rows))[0]

    kept = {t: ~below_threshold(faces.probs, t) for t in thresholds}
    return Sweep(
        thresholds,
        tuple(unseen_below(t) for t in thresholds),
        tuple(mean(faces.seen, kept[t]) for t in thresholds),
        tuple(mean(faces.seen, kept[t] & faces.named_rightly) for t in thresholds),
    )


def nearness(protocol: Protocol) -> dict[str, list[str]]:
    """Which unseen forged groups are near to a seen generator, by family, by forgery type, and by either.

    A generator of which the taxonomy knows no single family (or forgery type) is in neither set by family (or type),
    and is far by either only if it is far by both. Real groups are in none.
    """
    seen = [group.taxon for group in protocol.seen if group.taxon.detection_label == FAKE]

    def family_of(taxon: Generator) -> Family:
        return taxon.family if protocol.families == "precise" else taxon.grouping

    families, forgeries = ({family_of(t) for t in seen} - {Family.NONE}, {t.forgery for t in seen} - {ForgeryType.NONE})
    sets: dict[str, list[str]] = {name: [] for name in NEARNESS}
    for group in protocol.unseen:
        taxon = group.taxon
        if not group.in_average or taxon.detection_label != FAKE:
            continue
        family = None if family_of(taxon) is Family.NONE else family_of(taxon) in families
        forgery = None if taxon.forgery is ForgeryType.NONE else taxon.forgery in forgeries
        either = True if family or forgery else (False if (family, forgery) == (False, False) else None)
        for near, suffix in ((either, ""), (family, "-family"), (forgery, "-forgery")):
            if near is not None:
                sets[("near" if near else "far") + suffix].append(group.key)
    return sets


def _near_and_far(faces: Faces) -> dict[str, list[str]]:
    present = set(faces.averaged)
    return {name: [key for key in keys if key in present] for name, keys in nearness(faces.protocol).items()}


def _metrics_on(on: On, *, near_far: bool = False) -> tuple[str, ...]:
    """Metrics of the table on a set; `near_far`: those that are computed on near and far faces."""
    return tuple(name for name, metric in METRICS.items() if metric.on == on and (metric.near_far or not near_far))


def _part_numbers(chosen: FaceSet, name: str) -> list[Number]:
    return [part_number(chosen, name, part) for part in chosen.parts] if "macro" in METRICS[name].averaging else []


def _set_numbers(chosen: FaceSet, name: str) -> list[Number]:
    make = {"macro": macro_number, "pooled": pooled_number}
    return [make[averaging](chosen, name) for averaging in METRICS[name].averaging]


def _groups_set(
    faces: Faces,
    on: On,
    subset: str,
    keys: list[str],
    threshold: float | None = None,
    only: tuple[str, ...] = (),
    suffix: str = "",
) -> FaceSet:
    """Seen or unseen groups, each by itself; `threshold` for unseen ones; `suffix` is put behind every name."""
    params = {} if threshold is None else {"threshold": threshold}

    def arrays(chosen: np.ndarray) -> dict[str, Any]:
        return {"probs": faces.probs[chosen], **(params or {"labels": faces.label[chosen]})}

    return FaceSet(
        faces,
        "attribution",
        subset + suffix,
        only or _metrics_on(on),
        faces.of(keys),
        tuple(keys),
        tuple(Part(key + suffix, faces.of([key]), (key,)) for key in keys),
        arrays,
        missing_reason=lambda needs, chosen: None if len(chosen) else f"no {subset} groups",
        no_parts=f"no {subset} groups",
        params=params,
    )


def _ranking_set(faces: Faces, subset: str, keys: list[str], suffix: str = "") -> FaceSet:
    """Seen faces against those of unseen groups."""
    seen, name = faces.of(faces.seen), f"seen-vs-{subset}"

    def arrays(chosen: np.ndarray) -> dict[str, Any]:
        inside, outside = chosen[seen[chosen]], chosen[~seen[chosen]]
        return {
            "seen_probs": faces.probs[inside], "labels": faces.label[inside], "unseen_probs": faces.probs[outside],
        }  # fmt: skip

    def missing_reason(needs: str, chosen: np.ndarray) -> str | None:
        return None if seen[chosen].any() and not seen[chosen].all() else f"needs seen and {subset} faces"

    return FaceSet(
        faces,
        "attribution",
        name + suffix,
        _metrics_on("ranking", near_far=subset != "unseen"),
        seen | faces.of(keys),
        (*faces.seen, *keys),
        tuple(Part(f"seen-vs-{key}{suffix}", seen | faces.of([key]), (*faces.seen, key)) for key in keys),
        arrays,
        missing_reason=missing_reason,
        no_parts=f"needs seen and {subset} faces",
        positive=seen,
        scores=faces.confidence,
        right=faces.named_rightly,
        classes=("seen sources", "unseen sources"),
    )


def _retrieval_set(faces: Faces, subset: str, keys: list[str], suffix: str = "") -> FaceSet:
    """Queries in the space of class probabilities; half of each generator's sources are registered, in all resamples.

    A group of which no source is registered, or every one, has no part in it.
    """
    registered = registered_sources(faces.source, faces.protocol.seed)
    groups = {key: faces.of([key]) for key in keys}
    usable = [key for key, rows in groups.items() if registered[rows].any() and not registered[rows].all()]
    known = np.flatnonzero(faces.of(usable) & registered)

    def arrays(chosen: np.ndarray) -> dict[str, Any]:
        rows = np.concatenate([known, chosen])
        return {
            "probs": faces.probs[rows], "generators": faces.group[rows],
            "registered": np.arange(len(rows)) < len(known),
        }  # fmt: skip

    reason = "needs two groups of two sources" if subset == "all" else f"needs two {subset} groups of two sources"
    enough = len(usable) >= 2
    return FaceSet(
        faces,
        "attribution",
        subset + suffix,
        _metrics_on("retrieval"),
        faces.of(usable) & ~registered,
        tuple(usable),
        tuple(Part(key + suffix, groups[key] & ~registered, (key,)) for key in usable) if enough else (),
        arrays,
        missing_reason=lambda needs, chosen: None if enough else reason,
        no_parts=reason,
        params={"space": "class probabilities", "registered": len(known)},
    )


def registered_sources(sources: np.ndarray, seed: int) -> np.ndarray:
    """Which rows are registered: by seeded hash of their source, so the choice is the same for every model."""

    def chosen(source: str) -> bool:
        digest = hashlib.sha256(f"{seed}:retrieval:{source}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48 < _REGISTERED

    names, place = np.unique(sources, return_inverse=True)
    return np.array([chosen(name) for name in names], dtype=bool)[place]
