"""Which numbers and names are possible in a record: bounds by unit, counts no larger than what they count.

The units of the metrics of record schema 1.1 are known by name; a number of any other metric states its unit.
`result_record.schema.json` says the same to readers without Python. Records come as `Any`: `core.record` imports this.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from math import inf
from typing import Any, NamedTuple

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.labels import group_key

_SHARES = (
    "seen_accuracy", "unseen_accuracy", "auroc", "oscr", "fpr95", "accuracy", "balanced_accuracy", "tpr", "tnr", "auc",
    "ap", "eer", "ece", "prototype_retrieval",
)  # fmt: skip
# unit of each metric of schema 1.1; those of predictions are in every record of it
SCHEMA_METRICS: dict[str, str] = {
    **dict.fromkeys(_SHARES, "share"),
    "frechet_distance": "rad^2",
    "paired_cosine": "cosine",
}
SCORED_BY_SCHEMA = frozenset(_SHARES)
# metric and averaging: numbers by generator that records of schema 1.2 made before them lack
ADDED_NUMBERS = frozenset((name, mean) for name in ("auroc", "oscr") for mean in ("none", "macro"))
BOUNDS: dict[str, tuple[float, float]] = {"share": (0.0, 1.0), "cosine": (-1.0, 1.0), "rad^2": (0.0, inf)}
PARTS = ("train", "validation", "unlabelled", "test")
_INSTALLED = ("dfad_bench.metrics", "METRICS")
_ROUNDING = 1e-9


class Fault(NamedTuple):
    """An impossible number or name: where it stands, what it is, what it may be."""

    where: str
    stated: Any
    allowed: str

    def __str__(self) -> str:
        return f"{self.where} is {self.stated!r}, expected {self.allowed}"


def metric_unit(name: str, stated: str | None = None) -> str | None:
    """The unit of a metric by its name, in the schema or the installed table, else as `stated`; None: not known."""
    if name in SCHEMA_METRICS:
        return SCHEMA_METRICS[name]
    module, attribute = _INSTALLED
    table = getattr(import_module(module), attribute)
    return str(table[name].unit) if name in table else stated


def check_ranges(record: Any, where: str) -> None:
    """Refuse a `ResultRecord` with a number out of its range or a name of no table; `where` is named in the error.

    Raises:
        ConfigError: names the first of them, and how many more there are.
    """
    found = list(range_faults(record))
    if found:
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        raise ConfigError(f"{where}: {found[0]}{more}; `dfad evaluate --run RUN --rescore` computes a record again")


def range_faults(record: Any) -> Iterator[Fault]:
    """Every number out of its range, every name of no table."""
    for place, value in enumerate(record.metrics):
        yield from _of_metric(value, f"metrics[{place}] ({value.metric} of {value.subset})")
    for name, values in record.references.items():
        if name not in record.run.references:
            yield Fault("references", name, "one of run.references")
        for place, value in enumerate(values):
            yield from _of_metric(value, f"references[{name!r}][{place}] ({value.metric} of {value.subset})")
    known = _groups_of(record.protocol.config)
    for key, counts in record.groups.items():
        if known and key not in known:
            yield Fault("groups", key, f"a group of protocol {record.protocol.name}")
        yield from _of_group(counts, f"groups[{key!r}]")
    if record.sweep is not None:
        for name in ("thresholds", "unseen_accuracy", "seen_kept", "seen_right"):
            for place, share in enumerate(getattr(record.sweep, name)):
                yield from _check_range(share, 0, 1, f"sweep.{name}[{place}]")
    yield from _of_facts(record)


def _of_metric(value: Any, where: str) -> Iterator[Fault]:
    unit = metric_unit(value.metric, value.unit)
    if unit is None:
        near = get_close_matches(value.metric, SCHEMA_METRICS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        yield Fault(
            where, value.metric, f"a metric of `dfad list metrics`{hint}, or one that states its unit in `unit`"
        )
    elif value.unit not in (None, unit):
        yield Fault(f"{where}.unit", value.unit, unit)
    low, high = BOUNDS.get(unit or "", (-inf, inf))
    yield from _check_range(value.value, low, high, f"{where}.value", unit)
    for side, bound in zip(("low", "high"), value.ci95 or (), strict=False):
        yield from _check_range(bound, low, high, f"{where}.ci95 {side}", unit)
    if value.ci95 is not None and value.ci95[0] > value.ci95[1]:
        yield Fault(f"{where}.ci95", list(value.ci95), "the lower bound first")
    for name in ("n", "n_pos", "n_neg", "ci_resamples"):
        top = value.n if name in ("n_pos", "n_neg") else inf
        yield from _check_range(getattr(value, name), 0, top, f"{where}.{name}")
    yield from _check_range(value.params.get("threshold"), 0, 1, f"{where}.params.threshold")
    yield from _check_range(value.params.get("severity"), 0, inf, f"{where}.params.severity")


def _of_group(counts: Any, where: str) -> Iterator[Fault]:
    yield from _check_range(counts.n, 0, inf, f"{where}.n")
    for name in ("correct", "tp", "fp", "fn", "tn"):
        yield from _check_range(getattr(counts, name), 0, counts.n, f"{where}.{name}")
    for threshold, n in counts.below.items():
        yield from _check_range(n, 0, counts.n, f"{where}.below[{threshold}]")
    for place, n in enumerate(counts.named):
        yield from _check_range(n, 0, counts.n, f"{where}.named[{place}]")
    yield from _check_range(counts.label, -1, inf, f"{where}.label")
    yield from _check_range(counts.detection_label, -1, 1, f"{where}.detection_label")


def _of_facts(record: Any) -> Iterator[Fault]:
    """Parts of the manifest, counts of faces, parameters and steps."""
    for name, split in record.manifest.splits.items():
        if name not in PARTS:
            yield Fault("manifest.splits", name, f"one of {', '.join(PARTS)}")
        yield from _check_range(split.rows, 0, inf, f"manifest.splits.{name}.rows")
        for key, n in split.generators.items():
            yield from _check_range(n, 0, split.rows, f"manifest.splits.{name}.generators[{key!r}]")
    for part, names in (
        ("manifest", ("rows",)), ("samples", ("expected", "evaluated", "failed")), ("predictions", ("rows",)),
        ("model", ("params_total", "params_trainable")), ("run", ("steps", "resumed", "epochs", "wall_s")),
    ):  # fmt: skip
        for name in names:
            yield from _check_range(getattr(getattr(record, part), name), 0, inf, f"{part}.{name}")
    yield from _check_range(record.run.world_size, 1, inf, "run.world_size")
    for name, about in record.run.references.items():
        yield from _check_range(about.fitted_on, 1, inf, f"run.references[{name!r}].fitted_on")
        yield from _check_range(about.lacking, 0, record.samples.evaluated, f"run.references[{name!r}].lacking")
    for key, n in (record.run.trained_on or {}).items():
        yield from _check_range(n, 0, inf, f"run.trained_on[{key!r}]")


def _check_range(value: Any, low: float, high: float, where: str, unit: str | None = None) -> Iterator[Fault]:
    """A fault where a value is no number or outside its range; None passes, since a number may be missing."""
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and low - _ROUNDING <= value <= high + _ROUNDING:
        return
    about = f" (a {unit})" if unit == "share" else f" ({unit})" if unit else ""
    limits = f"{low:g} to {high:g}" if high < inf else f"{low:g} or more"
    yield Fault(where, value, limits + about)


def _groups_of(config: dict[str, Any]) -> set[str]:
    """Keys of the groups of a protocol given in full; empty where it is in no form that is known here."""
    parts = [config.get(part, ()) for part in ("seen", "unseen")]
    if not all(isinstance(part, list | tuple) for part in parts):
        return set()
    rows = [row for part in parts for row in part]
    if not all(isinstance(row, dict) and {"dataset", "generator"} <= row.keys() for row in rows):
        return set()
    names = [(row["dataset"], row["generator"], row.get("source")) for row in rows]
    if not all(isinstance(name, str | None) for row in names for name in row):
        return set()
    return {group_key(*row) for row in names}
