"""Rows of `dfad predict` as lines: for people, as JSON, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from dfad_bench.cli.output import echo, echo_json_line
from dfad_bench.core.escape import csv_cell, one_line

if TYPE_CHECKING:
    from dfad_bench.api.predict import Predictions
    from dfad_bench.api.predict_onnx import FilePredictions

_DEGREES = 57.29577951308232
_NAMED = 3  # generators of a set that are named in a line


class Printer(Protocol):
    """Prints rows as they come."""

    def print_row(self, row: Mapping[str, Any]) -> None:
        """Print a row."""

    def print_end(self, found: Predictions | FilePredictions) -> None:
        """Print what is known at the end."""


class TextLines:
    """A line a face, for people."""

    def __init__(self, found: Predictions | FilePredictions) -> None:
        self._several = len(found.runs) > 1

    def print_row(self, row: Mapping[str, Any]) -> None:
        """Print a row."""
        name = one_line(row["input"]) + ("" if row.get("frame") is None else f", frame {row['frame']}")
        if row["kind"] == "refused":
            echo(f"{name}: {row['status']} ({one_line(row['reason'])}){_origin(row)}")
            return
        whose = f"{row['frames']} frames" if row["kind"] == "video" else f"face {row['face']} of {row['faces']}"
        run = f" [{one_line(row['run'])}]" if self._several else ""
        parts = [_verdict(row), _generator(row), _where(row), _gaze(row), ", ".join(row.get("flags") or ())]
        echo(f"{name}, {whose}{run}: {', '.join(part for part in parts if part)}{_origin(row)}")

    def print_end(self, found: Predictions | FilePredictions) -> None:
        """Print what the runs cannot know."""
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.verdicts.items()))
        echo(f"\n{found.inputs_done} inputs, {sum(found.verdicts.values())} faces{f': {counts}' if counts else ''}")
        for line in found.limits:
            echo(one_line(line))


class JsonLines:
    """JSON, an object a line, so that what was printed before an interruption can be read."""

    def __init__(self, found: Predictions | FilePredictions) -> None:
        self._print({"kind": "about", "runs": list(found.runs), "limits": list(found.limits), "inputs": found.total})

    def print_row(self, row: Mapping[str, Any]) -> None:
        """Print a row; what is not known is left out."""
        self._print({key: value for key, value in row.items() if value is not None})

    def print_end(self, found: Predictions | FilePredictions) -> None:
        """Print counts."""
        about = {
            "kind": "end",
            "inputs": found.inputs_done,
            "refused": found.inputs_refused,
            "verdicts": dict(found.verdicts),
        }
        self._print({**about, "left_out": dict(found.left_out), "remarks": found.remarks})

    def _print(self, value: Mapping[str, Any]) -> None:
        echo_json_line(value)


class CsvLines:
    """CSV with the columns of docs/predict.md."""

    def __init__(self, found: Predictions | FilePredictions) -> None:
        self._columns = found.columns
        self._print(self._columns)
        for line in found.limits:
            echo(one_line(line), err=True)

    def print_row(self, row: Mapping[str, Any]) -> None:
        """Print a row; what is not known is empty."""
        top = [f"{one['generator']}:{one['probability']:.6g}" for one in row.get("top") or ()]
        again = [f"{way}:{score:.6g}" for way, score in (row.get("redelivered") or {}).items()]
        cells = {**row, **({"top": top} if "top" in row else {}), **({"redelivered": again} if again else {})}
        self._print(["" if cells.get(name) is None else csv_cell(cells[name]) for name in self._columns])

    def print_end(self, found: Predictions | FilePredictions) -> None:
        """Nothing: counts are those of the lines."""

    def _print(self, cells: Any) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        echo(line.getvalue(), nl=False)


def _verdict(row: Mapping[str, Any]) -> str:
    """Never a bare percentage: the score stands beside the points it is compared with."""
    if row.get("p_fake") is None:
        return "no verdict"
    score = f"score {row['p_fake']:.3f}"
    if row.get("fake_above") is not None:
        score += f"; real up to {row['real_up_to']:.3f}, fake above {row['fake_above']:.3f}"
    if row.get("disagreement") is not None:
        score += f"; runs up to {row['disagreement']:.3f} apart"
    if row["kind"] == "video" and row.get("called_fake") is not None:
        score += f"; frames {row['p_fake_low']:.3f} to {row['p_fake_high']:.3f}, {row['called_fake']:.0%} of them fake"
    return f"{row['verdict']} ({score}{_stability(row)})"


def _stability(row: Mapping[str, Any]) -> str:
    """How many re-deliveries turn the verdict, and which."""
    if row.get("turned_by") is None:
        return ""
    ways = [*row["turned_by"], *(f"{way} loses the face" for way in row["lost_by"])]
    whole = len(row["redelivered"]) + len(row["lost_by"])
    return f"; {len(ways)} of {whole} re-deliveries turn it{': ' * bool(ways)}{', '.join(ways)}"


def _generator(row: Mapping[str, Any]) -> str:
    if row.get("generator") is None:
        return ""
    likely = [f"likeliest {one_line(one['generator'])} {one['probability']:.2f}" for one in (row.get("top") or ())[:1]]
    if row.get("nearest") is not None:
        likely.append(f"nearest {one_line(row['nearest'])}, cosine {row['similarity']:.2f}")
    inside = row.get("attribution_set")
    if row.get("p_seen") is not None:
        likely.append(f"p of a known one {row['p_seen']:.3f}")
    if inside is not None:
        shown = ", ".join(map(one_line, inside)) if len(inside) <= _NAMED else f"{len(inside)} of them"
        likely.append(f"set: {shown or 'empty'}")
    return f"by {one_line(row['generator'])} ({'; '.join(likely)})"


def _where(row: Mapping[str, Any]) -> str:
    if row.get("box_x0") is None:
        return ""
    corners = [round(row[f"box_{name}"]) for name in ("x0", "y0", "x1", "y1")]
    return "box {},{} {},{}".format(*corners)


def _gaze(row: Mapping[str, Any]) -> str:
    if row.get("yaw_rad") is None:
        return ""
    return f"gaze {row['pitch_rad'] * _DEGREES:+.0f} up {row['yaw_rad'] * _DEGREES:+.0f} left"


def _origin(row: Mapping[str, Any]) -> str:
    """What the file states of itself; nothing stated is "none", which says nothing about the picture."""
    if row.get("source_type") is None:
        return ""
    made = "it says that a model made it; " if row.get("states_generated") else ""
    return f", stated origin: {made}{one_line(row['source_type'])}, credentials {one_line(row['credentials'])}"
