"""Attribution over thresholds, a curve a run: what a threshold gains on unseen faces and loses on seen ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.core.files import atomic_path
from dfad_bench.core.record import Sweep
from dfad_bench.report.figures.style import PLAIN_TEXT, legend_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = {"unseen_accuracy": "unseen faces below", "seen_kept": "seen faces kept", "seen_right": "kept and right"}


def draw_sweep(path: Path, sweeps: Mapping[str, Sweep]) -> None:
    """Draw the sweeps of several runs, by name; the file's suffix (.png, .svg, .pdf) decides the format."""
    import matplotlib as mpl

    with mpl.rc_context(PLAIN_TEXT):
        figure = _draw(sweeps)
        with atomic_path(path) as temporary:
            suffix = path.suffix.lstrip(".") or "png"
            figure.savefig(temporary, format=suffix, dpi=150, metadata=_without_date(path))


def _draw(sweeps: Mapping[str, Sweep]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(_SHOWN), 3.2), layout="constrained")
    axes = figure.subplots(1, len(_SHOWN), sharey=True)
    for axis, (field, title) in zip(axes, _SHOWN.items(), strict=True):
        for name, sweep in sweeps.items():
            shares = [None if share is None else 100 * share for share in getattr(sweep, field)]
            axis.plot(sweep.thresholds, [float("nan") if v is None else v for v in shares], label=legend_name(name))
        axis.set(xlabel="threshold", title=title, xlim=(0, 1), ylim=(-2, 102))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("share, %")
    axes[-1].legend(fontsize="small")
    return figure


def _without_date(path: Path) -> dict[str, None] | None:
    """Metadata that keep the file the same from run to run."""
    return {"Date": None} if path.suffix == ".svg" else None
