"""Robustness records as tables and curves; runs of different protocols or faces are never put side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.report.robustness.scores import CLEAN, FILE
from dfad_bench.report.run_record import protocol_of
from dfad_bench.report.table import Column, Table
from dfad_bench.report.trivial import trivial_notes, trivial_scores_of

Evaluation = tuple[str, ResultRecord, Mapping[str, Any]]  # label, record, settings
# column -> metric, subset, averaging; the headline threshold is added for unseen accuracy
NUMBERS = {
    "seen_acc": ("seen_accuracy", "seen", "macro"),
    "unseen_acc": ("unseen_accuracy", "unseen", "macro"),
    "auroc": ("auroc", "seen-vs-unseen", "micro"),
    "detection_acc": ("accuracy", "unseen", "micro"),
    "detection_auc": ("auc", "unseen", "micro"),
}
TITLES = {
    "seen_acc": "Seen ACC", "unseen_acc": "Unseen ACC", "auroc": "AUROC", "detection_acc": "Detection ACC",
    "detection_auc": "Detection AUC",
}  # fmt: skip
_WITHDRAWN = ("video_compression",)  # operators once said to be the papers', by their parameters alone
_WHERE = "`dfad list corruptions --long` says how each was compared."
EXACT = "all as in the papers"
_NOTES = (
    "Severity 0: the faces as they are. Numbers as on the leaderboard; a model whose confidence is always low has an"
    " unseen ACC of 100, so read AUROC beside it.",
    f"Mean: over severities 1 and up of a corruption; {EXACT}: over all such cells of corruptions without a star.",
)


def robustness_table(evaluations: Sequence[Evaluation]) -> Table:
    """Rows a corruption and severity: the headline numbers of each run, trivial rows first.

    Args:
        evaluations: label, record and settings; all of one protocol.

    Raises:
        ConfigError: the runs were tested under different protocols or on different faces.
    """
    check_comparable(evaluations)
    first = evaluations[0][1]
    protocol = protocol_of({"protocol": {"config": first.protocol.config}}, FILE)
    headline = protocol.attribution.headline
    rows: list[dict[str, Any]] = []
    constant = trivial_scores_of(first, protocol)
    for name, scored in constant.items():
        rows.append({"run": name, "corruption": "any", **headline_numbers(scored.metrics, headline)})
    sections = {0: "trivial models"}
    for label, record, settings in evaluations:
        sections[len(rows)] = label
        rows += _run_rows(label, record, settings, headline)
    columns = (
        Column("run", "Run", "text"),
        Column("corruption", "Corruption", "text"),
        Column("severity", "Severity", "text"),
        Column("strength", "Strength", "text"),
        *(Column(key, title, "percent") for key, title in TITLES.items()),
    )
    own = [
        name
        for name, about in about_corruptions([settings for _, _, settings in evaluations]).items()
        if not about["paper_exact"]
    ]
    notes = [*_NOTES, f"Unseen ACC at the threshold {headline:g}; {first.samples.evaluated:,} faces a cell."]
    notes += [f"*: not the papers', or not shown to have the same effect ({', '.join(own)}): {_WHERE}"] if own else []
    notes += trivial_notes(constant)
    notes += [f"{label}: partial, not to be ranked" for label, record, _ in evaluations if record.status != "complete"]
    return Table(f"Robustness, protocol {protocol.name}", columns, rows, tuple(notes), sections)


def robustness_grid(evaluations: Sequence[Evaluation]) -> Table:
    """One row a run, corruption, severity, set or group and number, with its interval: everything there is."""
    rows = [
        {
            "run": label,
            "corruption": value.params["corruption"],
            "severity": value.params["severity"],
            "strength": value.params.get("strength"),
            "group": value.subset,
            "of": value.params["of"],
            "metric": value.metric,
            "averaging": value.averaging,
            "threshold": value.params.get("threshold"),
            "value": value.value,
            "low": value.ci95[0] if value.ci95 else None,
            "high": value.ci95[1] if value.ci95 else None,
            "n": value.n,
        }
        for label, record, _ in evaluations
        for value in record.metrics
    ]
    kinds: dict[str, Any] = {"n": "count", "strength": "number", "threshold": "number"}
    kinds |= dict.fromkeys(("value", "low", "high"), "number")
    digits = {"strength": 3, "value": 4, "low": 4, "high": 4}
    columns = tuple(Column(key, key, kinds.get(key, "text"), digits.get(key, 2)) for key in rows[0])
    return Table("Robustness, every number", columns, rows)


def curves(record: ResultRecord, key: str) -> dict[str, list[MetricValue]]:
    """Per corruption the values of one column of `NUMBERS`, by severity; severity 0 begins each."""
    headline = record.protocol.config["attribution"]["headline"]
    found: dict[str, list[MetricValue]] = {}
    for (name, _), values in _cells(record).items():
        if (value := _number(values, key, headline)) is not None:
            found.setdefault(name, []).append(value)
    clean = found.pop(CLEAN, [])
    return {name: sorted([*clean, *line], key=lambda v: v.params["severity"]) for name, line in found.items()}


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Refuse runs whose numbers must not stand side by side.

    Raises:
        ConfigError: names the two and what differs.
    """
    label, first, settings = evaluations[0]
    for other, record, theirs in evaluations[1:]:
        for what, mine, yours in (
            ("protocols", first.protocol.sha256, record.protocol.sha256),
            ("test faces", first.manifest.splits["test"].content_sha256, record.manifest.splits["test"].content_sha256),
            ("corruption sizes or seeds", *((s["corrupt_at"], s["seed"]) for s in (settings, theirs))),
        ):
            if mine != yours:
                raise ConfigError(f"{label} and {other} have different {what}: their robustness is not comparable")


def _cells(record: ResultRecord) -> dict[tuple[str, int], list[MetricValue]]:
    found: dict[tuple[str, int], list[MetricValue]] = {}
    for value in record.metrics:
        found.setdefault((value.params["corruption"], value.params["severity"]), []).append(value)
    return found


def _number(values: Sequence[MetricValue], key: str, headline: float) -> MetricValue | None:
    metric, subset, averaging = NUMBERS[key]
    for value in values:
        if (value.metric, value.subset, value.averaging) == (metric, subset, averaging) and (
            metric != "unseen_accuracy" or value.params.get("threshold") == headline
        ):
            return value
    return None


def headline_numbers(values: Sequence[MetricValue], headline: float) -> dict[str, float | None]:
    """The columns of `NUMBERS` among some numbers; None where one is missing or not defined."""
    found = {key: _number(values, key, headline) for key in NUMBERS}
    return {key: value.value if value is not None else None for key, value in found.items()}


def _run_rows(
    label: str, record: ResultRecord, settings: Mapping[str, Any], headline: float
) -> Iterator[dict[str, Any]]:
    about, cells = about_corruptions([settings]), _cells(record)
    means: dict[str, list[dict[str, float | None]]] = {}
    for (name, level), values in cells.items():
        numbers = headline_numbers(values, headline)
        shown = "none" if level == 0 else about[name]["title"] + ("" if about[name]["paper_exact"] else " *")
        strength = "" if level == 0 else f"{about[name]['values'][str(level)]:g}"
        yield {"run": label, "corruption": shown, "severity": str(level), "strength": strength, **numbers}
        if level:
            means.setdefault(name, []).append(numbers)
        if level and (name, level) == max(cell for cell in cells if cell[0] == name) and len(means[name]) > 1:
            yield {"run": label, "corruption": shown, "severity": "mean", **_mean(means[name])}
    exact = [numbers for name, several in means.items() if about[name]["paper_exact"] for numbers in several]
    if exact:
        yield {"run": label, "corruption": EXACT, "severity": "mean", **_mean(exact)}


def _mean(several: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each column; None where a cell has no value."""
    means: dict[str, float | None] = {}
    for key in NUMBERS:
        column = [numbers[key] for numbers in several]
        means[key] = None if None in column else fmean(value for value in column if value is not None)
    return means


def about_corruptions(settings: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the settings of evaluations say of each corruption, by name, in their order.

    Records made before keep what they said; a claim that did not hold (`_WITHDRAWN`) is not repeated.
    """
    return {
        about["name"]: {**about, "paper_exact": about["paper_exact"] and about.get("operator") not in _WITHDRAWN}
        for one in settings
        for about in one["corruptions"]
    }
