"""The attribution numbers of a set of predictions; which faces form which set is said in `report.score`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE, Family, ForgeryType
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import Sweep
from dfad_bench.metrics import openset
from dfad_bench.metrics.interval import clustered_wilson, stratified_wilson
from dfad_bench.metrics.retrieval import prototype_retrieval
from dfad_bench.report.scored_faces import Faces, Number, number

SWEEP = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.97, 0.99)
_REGISTERED = 0.5  # share of a generator's sources that are registered for retrieval
_DRAWN = {"auroc": "auc"}  # names in the bootstrap
NEARNESS = ("near", "far", "near-family", "far-family", "near-forgery", "far-forgery")


def attribution_numbers(faces: Faces) -> list[Number]:
    """Seen and unseen shares, how well confidence tells the two apart, near and far unseen, retrieval."""
    numbers = [_share(faces, "seen_accuracy", key, faces.right) for key in faces.seen]
    numbers.append(_macro(faces, "seen_accuracy", "seen", faces.seen, faces.right))
    sets = {"unseen": faces.averaged, **_near_and_far(faces)}
    for threshold in faces.protocol.attribution.thresholds:
        below, at = faces.sure < threshold, {"threshold": threshold}
        numbers += [_share(faces, "unseen_accuracy", key, below, **at) for key in faces.unseen]
        numbers += [_macro(faces, "unseen_accuracy", subset, keys, below, **at) for subset, keys in sets.items()]
    for subset, keys in sets.items():
        numbers += _ranking(faces, subset, keys, ("auroc", "oscr", "fpr95") if subset == "unseen" else ("auroc",))
    everything = [*faces.seen, *faces.averaged]
    return [*numbers, _retrieval(faces, "unseen", faces.averaged), _retrieval(faces, "all", everything)]


def sweep(faces: Faces) -> Sweep:
    """Unseen and seen shares at many thresholds, those of the protocol among them."""
    thresholds = tuple(sorted({*SWEEP, *faces.protocol.attribution.thresholds}))
    groups = {key: faces.of([key]) for key in (*faces.seen, *faces.averaged)}

    def mean(keys: Sequence[str], hits: np.ndarray) -> float | None:
        return float(np.mean([hits[groups[key]].mean() for key in keys])) if keys else None

    return Sweep(
        thresholds,
        tuple(mean(faces.averaged, faces.sure < t) for t in thresholds),
        tuple(mean(faces.seen, faces.sure >= t) for t in thresholds),
        tuple(mean(faces.seen, (faces.sure >= t) & faces.right) for t in thresholds),
    )


def nearness(protocol: Protocol) -> dict[str, list[str]]:
    """Which unseen forged groups are near to a seen generator, by family, by forgery type, and by either.

    A generator of which the taxonomy knows no single family (or forgery type) is in neither set by family (or type),
    and is far by either only if it is far by both. Real groups are in none.
    """
    seen = [group.taxon for group in protocol.seen if group.taxon.detection_label == FAKE]
    families, forgeries = ({t.family for t in seen} - {Family.NONE}, {t.forgery for t in seen} - {ForgeryType.NONE})
    sets: dict[str, list[str]] = {name: [] for name in NEARNESS}
    for group in protocol.unseen:
        taxon = group.taxon
        if not group.in_average or taxon.detection_label != FAKE:
            continue
        family = None if taxon.family is Family.NONE else taxon.family in families
        forgery = None if taxon.forgery is ForgeryType.NONE else taxon.forgery in forgeries
        either = True if family or forgery else (False if (family, forgery) == (False, False) else None)
        for near, suffix in ((either, ""), (family, "-family"), (forgery, "-forgery")):
            if near is not None:
                sets[("near" if near else "far") + suffix].append(group.key)
    return sets


def _near_and_far(faces: Faces) -> dict[str, list[str]]:
    present = set(faces.averaged)
    return {name: [key for key in keys if key in present] for name, keys in nearness(faces.protocol).items()}


def _share(faces: Faces, metric: str, key: str, hits: np.ndarray, **params: Any) -> Number:
    rows = faces.of([key])
    mine, sources = hits[rows], faces.source[rows]
    facts = {"members": (key,), "n": len(mine), "params": params}
    closed = (clustered_wilson(mine, sources), "wilson")
    return number(
        "attribution", metric, key, float(mine.mean()), None, facts, closed=closed, hits=mine, sources=sources
    )


def _macro(faces: Faces, metric: str, subset: str, keys: list[str], hits: np.ndarray, **params: Any) -> Number:
    rows = faces.of(keys)
    facts = {"members": tuple(keys), "n": int(rows.sum()), "averaging": "macro", "params": params}
    if not keys:
        return number("attribution", metric, subset, None, f"no {subset} groups", facts)
    value = float(np.mean([hits[faces.of([key])].mean() for key in keys]))

    def draws() -> np.ndarray:
        return faces.bootstrap(rows).macro_share_draws(hits[rows])

    def still() -> tuple[float, float] | None:
        return stratified_wilson(hits[rows], faces.group[rows], faces.source[rows], macro=True)

    more = {"draws": draws, "hits": hits[rows], "sources": faces.source[rows], "still": still}
    return number("attribution", metric, subset, value, None, facts, **more)


def _ranking(faces: Faces, subset: str, keys: list[str], metrics: Sequence[str]) -> list[Number]:
    inside, outside = faces.of(faces.seen), faces.of(keys)
    p, labels, q = faces.probs[inside], faces.label[inside], faces.probs[outside]
    facts = {
        "members": (*faces.seen, *keys), "averaging": "micro", "n": len(p) + len(q), "n_pos": len(p), "n_neg": len(q),
    }  # fmt: skip
    reason = None if len(p) and len(q) else f"needs seen and {subset} faces"
    both = inside | outside
    only = [_DRAWN.get(metric, metric) for metric in metrics]
    draws = faces.ranking(both, inside[both], faces.sure[both], right=faces.right[both], only=only)
    values = {
        "auroc": lambda: openset.auroc(p, q),
        "oscr": lambda: openset.oscr(p, labels, q),
        "fpr95": lambda: openset.fpr95(p, q),
    }
    made = []
    for metric in metrics:
        more: dict[str, Any] = {"draws": draws(_DRAWN.get(metric, metric)), "sources": faces.source[both]}
        if metric == "auroc":
            more["ranked"] = (inside[both].astype(int), faces.sure[both])
        made.append(number("attribution", metric, f"seen-vs-{subset}", values[metric](), reason, facts, **more))
    return made


def _retrieval(faces: Faces, subset: str, keys: list[str]) -> Number:
    """`prototype_retrieval` in the space of class probabilities; half of each generator's sources are registered."""
    rows = faces.of(keys)
    group, source = faces.group[rows], faces.source[rows]
    registered = _registered(source, faces.protocol.seed)
    usable = [key for key in keys if registered[group == key].any() and not registered[group == key].all()]
    mine = np.isin(group, usable)
    registered, probs = registered[mine], faces.probs[rows][mine]
    params = {"space": "class probabilities", "registered": int(registered.sum())}
    facts = {"members": tuple(usable), "n": int((~registered).sum()), "averaging": "macro", "params": params}
    if len(usable) < 2:
        reason = f"needs two {subset} groups of two sources" if subset != "all" else "needs two groups of two sources"
        return number("attribution", "prototype_retrieval", subset, None, reason, facts)
    hits = prototype_retrieval(probs, group[mine], registered)[~registered]
    asked = np.zeros(len(rows), bool)
    asked[np.flatnonzero(rows)[mine][~registered]] = True
    value = float(np.mean([hits[faces.group[asked] == key].mean() for key in usable]))

    def draws() -> np.ndarray:
        return faces.bootstrap(asked).macro_share_draws(hits)

    return number("attribution", "prototype_retrieval", subset, value, None, facts, draws=draws)


def _registered(sources: np.ndarray, seed: int) -> np.ndarray:
    """Which rows are registered: by seeded hash of their source, so the choice is the same for every model."""

    def chosen(source: str) -> bool:
        digest = hashlib.sha256(f"{seed}:retrieval:{source}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48 < _REGISTERED

    names, place = np.unique(sources, return_inverse=True)
    return np.array([chosen(name) for name in names], dtype=bool)[place]
