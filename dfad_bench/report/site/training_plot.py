"""The training curves of a model's runs: losses over steps, and of validation where it was computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.core.errors import listed
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.site.facts import SiteFacts
from dfad_bench.report.site.line_plot import MOST, LinePlot, Panel, line_plot
from dfad_bench.report.site.run_curves import TrainingCurve
from dfad_bench.report.table import Column, Table

ABOUT = (
    "A curve a run: the loss that training minimises, averaged over neighbouring steps, and that of validation faces."
    " Losses of different models are different sums and do not compare."
    " The numbers are in the table behind this figure."
)


def training_plot(facts: SiteFacts, records: Sequence[ResultRecord]) -> tuple[LinePlot | None, Table, list[str]]:
    """The figure of some runs of one model, its numbers, and why runs have no curve."""
    several = len({record.protocol.name for record in records}) > 1
    curves: dict[str, TrainingCurve] = {}
    names: dict[str, str] = {}
    reasons: dict[str, list[str]] = {}
    for record in records:
        label = f"{record.protocol.name}, seed {record.run.seed_text}" if several else f"seed {record.run.seed_text}"
        found = facts.curves_of(record)
        if found.training is None:
            reasons.setdefault(found.no_training, []).append(label)
        else:
            curves[record.record_id] = found.training
            names[record.record_id] = label
    shown = {key: curves[key] for key in list(curves)[:MOST]}
    figure = line_plot("training", "Training", ABOUT, _panels(shown), {key: names[key] for key in shown})
    why = [f"{listed(labels, 4)}: {text}" for text, labels in reasons.items()]
    return figure, training_table(shown, names), why


def training_table(curves: Mapping[str, TrainingCurve], names: Mapping[str, str]) -> Table:
    """A row a run and step."""
    rows: list[dict[str, Any]] = []
    for key, one in curves.items():
        losses, validation = dict(one.loss), dict(one.validation)
        for step in sorted({*losses, *validation}):
            values = {"loss": _short_loss(losses.get(step)), "validation": _short_loss(validation.get(step))}
            rows.append({"run": names[key], "step": step, **values})
    columns = (
        Column("run", "Run", "text"), Column("step", "Step", "count"), Column("loss", "Loss", "number", 4),
        Column("validation", "Validation", "number", 4),
    )  # fmt: skip
    return Table("Losses over steps", columns, rows)


def _panels(curves: Mapping[str, TrainingCurve]) -> list[Panel]:
    """Loss, and validation where a run has it, on the same steps."""
    last = max((step for one in curves.values() for step, _ in (*one.loss, *one.validation)), default=1)
    ticks = [(0.0, "0"), (0.5, f"{last / 2:,.0f}"), (1.0, f"{last:,}")] if last > 1 else [(1.0, str(last))]
    panels = []
    for heading, name in (("Loss of training, over steps", "loss"), ("Loss of validation, over steps", "validation")):
        lines = {key: getattr(one, name) for key, one in curves.items()}
        values = [value for line in lines.values() for _, value in line]
        if not values:
            continue
        low, high = min(0.0, *values), max(values)
        span = high - low or 1.0
        scaled = {key: [(step / last, (value - low) / span) for step, value in line] for key, line in lines.items()}
        heights = [(0.0, f"{low:.3g}"), (0.5, f"{low + span / 2:.3g}"), (1.0, f"{low + span:.3g}")]
        panels.append(Panel(heading, scaled, ticks, heights))
    return panels


def _short_loss(loss: float | None) -> float | None:
    return None if loss is None else float(f"{loss:.6g}")
