"""t-SNE of the embeddings of test faces by generator (GazeCLIP's Fig. 10, BMRL's Fig. 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.errors import DFADError, MissingDependencyError
from dfad_bench.core.protocol import Protocol
from dfad_bench.report.figures.style import REAL_COLOUR
from dfad_bench.report.run_figures.base import (
    COLOURS,
    MARKS,
    AbsentFigure,
    Figures,
    FigureStyle,
    MadeFigure,
    ReportFacts,
    about_run,
    group_names,
    new_figure,
    short_name,
)
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PERPLEXITY = 30.0
MOST_POINTS = 50_000  # of scikit-learn's, whose time grows faster than the points
_LEAST_POINTS = 8
_COMPONENTS = 50  # to which wide embeddings are reduced first


def make(facts: ReportFacts) -> Figures:
    """A map a run that kept embeddings."""
    made: list[MadeFigure | AbsentFigure] = []
    for label, run in facts.runs.items():
        try:
            outputs = run.outputs("test", "the map of embeddings")
            chosen = _chosen_places(outputs.sample_id, outputs.group, facts.faces_per_group)
            if len(chosen) < _LEAST_POINTS:
                made.append(AbsentFigure("embeddings", f"only {len(chosen)} faces", label))
                continue
            places, how = tsne_places(outputs.embedding[chosen].astype(np.float64), facts.seed)
        except DFADError as error:
            made.append(AbsentFigure("embeddings", str(error), label))
            continue
        groups = outputs.group[chosen]
        sources = len(set(outputs.source[chosen]))
        note = (
            f"{about_run(run.record)}; {len(chosen):,} test faces of {sources:,} sources, at most"
            f" {facts.faces_per_group:,} a group, chosen by a hash of their name; {how}, seed {facts.seed}. Only which"
            " points are neighbours means something: not distances, sizes or the axes. Open marks: unseen groups."
        )
        rows: list[Mapping[str, Any]] = [
            {"sample_id": name, "group": group, "x": float(x), "y": float(y)}
            for name, group, (x, y) in zip(outputs.sample_id[chosen], groups, places, strict=True)
        ]
        columns = (
            Column("sample_id", "Face", "text"),
            Column("group", "Group", "text"),
            Column("x", "x"),
            Column("y", "y"),
        )
        title = f"Embeddings of test faces, {label}"
        alt = f"{len(chosen):,} points by {len(set(groups))} groups; clusters are faces with similar embeddings."
        draw = _drawer(places, groups, run.protocol)
        table = Table(title, columns, rows, names=2)
        made.append(MadeFigure(facts.stem_of("embeddings", label), title, note, alt, table, draw))
    return made


def tsne_places(embedding: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """t-SNE of (n, d) in (n, 2), and how it was made; by scikit-learn, above `MOST_POINTS` by openTSNE.

    Raises:
        MissingDependencyError: openTSNE is needed and not there.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = len(embedding)
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    if embedding.shape[1] > _COMPONENTS and count > _COMPONENTS:
        embedding = PCA(_COMPONENTS, svd_solver="full").fit_transform(embedding)
    if count > MOST_POINTS:
        try:
            import openTSNE
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"t-SNE of {count:,} faces needs openTSNE: pip install dfad-bench[tsne], or fewer faces a group"
            ) from error
        found = openTSNE.TSNE(perplexity=perplexity, random_state=seed, n_jobs=1).fit(embedding)
        return np.asarray(found), f"openTSNE's t-SNE, perplexity {perplexity:g}"
    if not np.ptp(embedding, axis=0).any():
        return np.zeros((count, 2)), "all embeddings are equal"
    spread = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return spread.fit_transform(embedding), f"scikit-learn's t-SNE, perplexity {perplexity:g}, started from PCA"


def _chosen_places(names: np.ndarray, groups: np.ndarray, most: int) -> np.ndarray:
    """Places of at most `most` faces a group, those whose names have the smallest hashes."""
    ranks = np.array([hashlib.sha256(str(name).encode()).hexdigest()[:16] for name in names])
    order = np.argsort(ranks, kind="stable")
    seen: dict[str, int] = {}
    kept = []
    for place in order:
        count = seen[groups[place]] = seen.get(groups[place], 0) + 1
        if count <= most:
            kept.append(place)
    return np.sort(np.array(kept, dtype=int))


def _drawer(places: np.ndarray, groups: np.ndarray, protocol: Protocol) -> Any:
    def draw(style: FigureStyle) -> Figure:
        return _draw(places, groups, protocol, style)

    return draw


def _draw(places: np.ndarray, groups: np.ndarray, protocol: Protocol, style: FigureStyle) -> Figure:
    names, present = group_names(protocol), set(groups)
    keys = [group.key for group in protocol.groups if group.key in present]
    unseen = {group.key for group in protocol.unseen}
    figure = new_figure(style.wide_in, style.wide_in * 0.55)
    axis = figure.subplots()
    size = max(3.0, min(18.0, 4000 / len(places)))
    number = 0
    for key in keys:
        real = next(group for group in protocol.groups if group.key == key).taxon.detection_label == 0
        colour = REAL_COLOUR if real else COLOURS[number % (len(COLOURS) - 1)]
        mark = "." if real and key not in unseen else MARKS[(number // (len(COLOURS) - 1) * 3 + number) % len(MARKS)]
        number += not real
        x, y = places[groups == key].T
        open_mark = key in unseen
        axis.scatter(
            x, y, s=size, marker=mark, facecolors="none" if open_mark and mark not in "Xx" else colour,
            edgecolors=colour, linewidths=0.6, label=f"{short_name(names[key], 22)} ({len(x)})",
        )  # fmt: skip
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(True)
    columns = 1 if len(keys) <= 24 else 2
    figure.legend(loc="outside right upper", ncols=columns, markerscale=1.4, handletextpad=0.3, labelspacing=0.3)
    return figure
