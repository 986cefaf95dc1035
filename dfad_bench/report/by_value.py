"""Numbers of a run for each value of a column: who is served worst, and by how much.

Faces are pooled within a value. Intervals are over sources, by the bootstrap of all other numbers (a source in several
values is drawn for all of them at once); a gap is the difference to the best value, with its interval. The values are
annotations: nothing here corrects their errors, and the notes say what these do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.labels import FAKE, REAL, UNSEEN
from dfad_bench.core.protocol import Protocol
from dfad_bench.metrics.detection import auc, called_fake
from dfad_bench.metrics.few_sources import too_few
from dfad_bench.metrics.interval import ClusterBootstrap
from dfad_bench.metrics.openset import below_threshold, named_rightly
from dfad_bench.metrics.spread import difference_interval, interval, spread
from dfad_bench.report.score import with_untrained_columns
from dfad_bench.report.table import Column, Table

MOST_VALUES = 40
_SHARES = (0.0, 1.0)
_CHANCE_DRAWS = 4000
_COLUMNS = (
    Column("number", "Number", "text"), Column("value", "Value", "text"), Column("faces", "Faces", "count"),
    Column("sources", "Sources", "count"), Column("share", "Share", "percent"), Column("low", "95 % from", "percent"),
    Column("high", "to", "percent"), Column("gap", "Less than best", "percent"),
    Column("gap_low", "95 % from", "percent"), Column("gap_high", "to", "percent"),
)  # fmt: skip
_NOTES = (
    "Values are as annotated. Where a share e of annotations is wrong at random, a gap between two equally frequent"
    " values shows as 1 - 2e of itself; annotations that err together with the detector can make a gap of nothing.",
    "Faces are pooled within a value: values may differ in generators, quality or data set, and then so do the shares.",
    "Less than best: with its interval over sources; best and worst were chosen after looking, so that some gap is"
    " always there. Under each number stands the largest gap that equal values would have by chance alone, on average.",
)


@dataclass(frozen=True)
class _Number:
    """A number of some rows: which they are, right or not, and of an area also scores."""

    name: str
    rows: np.ndarray  # (n,) bool
    hits: np.ndarray  # (n,) right or not; of an area the positives
    scores: np.ndarray | None = None
    metric: str = "accuracy"

    def value_of(self, rows: np.ndarray) -> float | None:
        """Of some of its rows (n,) bool; None where it is not defined."""
        if self.scores is not None:
            return auc(self.hits[rows].astype(int), self.scores[rows]) if rows.any() else None
        return float(self.hits[rows].mean()) if rows.any() else None

    def draws_of(self, bootstrap: ClusterBootstrap, among: np.ndarray) -> np.ndarray:
        """Its value in each resample of its rows (m,), for those `among` them."""
        if self.scores is not None:
            positive, scores = self.hits[self.rows], self.scores[self.rows]
            return bootstrap.ranking_draws(positive, scores, among=among, only=("auc",))["auc"]
        return bootstrap.ratios_draws((self.hits[self.rows] & among)[:, None].astype(float), among[:, None])


def by_value_table(
    frame: pd.DataFrame,
    values: np.ndarray,
    protocol: Protocol,
    *,
    column: str,
    title: str,
    heads: str = "both",
    resamples: int = 1000,
    seed: int = 0,
) -> Table:
    """A row for each number and value, the worst value first.

    Args:
        frame: predictions, n rows.
        values: (n,) text, empty where a face has none.
        protocol: of the run.
        column: what the values are called.
        title: of the table.
        heads: the experts that were trained.
        resamples: of the bootstrap over sources.
        seed: of the bootstrap.

    Raises:
        ConfigError: no face has a value, all have the same, or there are more than 40.
    """
    names = [str(name) for name in np.unique(values[values != ""].astype(str))]
    if not 2 <= len(names) <= MOST_VALUES:
        what = f"{len(names)} values in column {column!r} ({listed(names, 3)})" if names else f"no value in {column!r}"
        raise ConfigError(f"--by: {what}; 2 to {MOST_VALUES} can be compared (numbers need classes first)")
    frame = with_untrained_columns(frame, protocol, heads)
    source = frame["source_key"].to_numpy(dtype=str)
    rows: list[dict[str, Any]] = []
    notes = [*_NOTES]
    if missing := int((values == "").sum()):
        notes.append(f"{missing:,} of {len(values):,} faces have no value in {column}: they are in no row.")
    for number in _numbers(frame, protocol, heads):
        found, line = _rows_of(number, values, source, names, resamples, seed)
        rows += found
        notes += [line] if line else []
    return Table(title, _COLUMNS, rows, tuple(notes))


def _numbers(frame: pd.DataFrame, protocol: Protocol, heads: str) -> list[_Number]:
    """What is compared: of detection forged faces, real ones and the area, of attribution seen and unseen faces."""
    truth = frame["detection_label"].to_numpy(dtype=int)
    processed = frame["group"].isin([g.key for g in protocol.unseen if g.taxon.processed]).to_numpy()
    p_fake = frame["p_fake"].to_numpy(dtype=float)
    called, made = called_fake(p_fake), []
    if heads != "attribution":
        forged, real = (truth == FAKE) & ~processed, (truth == REAL) & ~processed
        made += [
            _Number("forged faces called forged", forged, called),
            _Number("real faces called real", real, ~called),
        ]
        made.append(_Number("detection auc", forged | real, truth == FAKE, p_fake, "auc"))
    if heads != "detection":
        probs = frame[[f"p_{k}" for k in range(protocol.num_generators)]].to_numpy(dtype=float)
        label, headline = frame["attribution_label"].to_numpy(dtype=int), protocol.attribution.headline
        right, below = named_rightly(probs, label), below_threshold(probs, headline)
        made.append(_Number("seen faces named rightly", label != UNSEEN, right, metric="seen_accuracy"))
        unseen = (label == UNSEEN) & ~processed
        made.append(_Number(f"unseen faces below {headline:g}", unseen, below, metric="unseen_accuracy"))
    return made


def _rows_of(
    number: _Number, values: np.ndarray, source: np.ndarray, names: list[str], resamples: int, seed: int
) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of one number, worst first, and a line on the worst and on chance."""
    number = _Number(number.name, number.rows & (values != ""), number.hits, number.scores, number.metric)
    of = {name: number.rows & (values == name) for name in names}
    known = {name: value for name in names if (value := number.value_of(of[name])) is not None}
    if len(known) < 2:
        return [], f"{number.name}: fewer than two values have such faces."
    bootstrap = ClusterBootstrap(values[number.rows].astype(str), source[number.rows], resamples=resamples, seed=seed)
    draws = {name: number.draws_of(bootstrap, of[name][number.rows]) for name in known}
    best = max(known, key=lambda name: known[name])
    rows, errors = [], []
    for name in sorted(known, key=lambda name: known[name]):
        sources = _sources_of(number, of[name], source)
        row: dict[str, Any] = {
            "number": number.name, "value": name, "faces": int(of[name].sum()), "sources": sources,
            "share": known[name],
        }  # fmt: skip
        if too_few(number.metric, {"sources": sources}) is None:
            row |= _ends(("low", "high"), known[name], draws[name], bootstrap, interval)
            errors.append(spread(draws[name], bootstrap))
        if name != best:
            gap = known[name] - known[best]
            row |= {"gap": gap}
            least = min(sources, _sources_of(number, of[best], source))
            if too_few(number.metric, {"sources": least}) is None:
                behind = draws[name] - draws[best]
                row |= _ends(("gap_low", "gap_high"), gap, behind, bootstrap, difference_interval)
        rows.append(row)
    worst = rows[0]
    line = f"{number.name}: worst {worst['value']}, {100 * -worst.get('gap', 0.0):.2f} points behind {best}"
    known_errors = [one.error for one in errors if one is not None]
    if len(known_errors) == len(known):
        line += f"; equal values would lie {100 * _range_by_chance(known_errors, seed):.2f} apart by chance"
    return rows, f"{line}."


def _sources_of(number: _Number, rows: np.ndarray, source: np.ndarray) -> int:
    """Sources of some rows; of an area those of the rarer class."""
    if number.scores is None:
        return len(np.unique(source[rows]))
    return min(len(np.unique(source[rows & number.hits])), len(np.unique(source[rows & ~number.hits])))


def _ends(
    keys: tuple[str, str], value: float, draws: np.ndarray, bootstrap: ClusterBootstrap, make: Callable[..., Any]
) -> dict[str, float]:
    of = spread(draws, bootstrap)
    return {} if of is None else dict(zip(keys, make(value, of, _SHARES), strict=True))


def _range_by_chance(errors: list[float], seed: int) -> float:
    """How far the largest and the smallest of equal values lie apart on average, by their standard errors."""
    noise = np.random.default_rng(seed).standard_normal((_CHANCE_DRAWS, len(errors))) * np.array(errors)
    return float(np.ptp(noise, axis=1).mean())
