"""The numbers of a run's reference predictors (file facts only, gaze only): scored as the model is, on its faces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dfad_bench.core.errors import IntegrityError, listed
from dfad_bench.core.files import check_hash, safe_relative
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.core.run_parquet import read_predictions
from dfad_bench.report.score import score

_WORDS = {
    "source_width": "width", "source_height": "height", "source_format": "format of the file",
    "bytes_per_pixel": "bytes per pixel", "pitch_rad": "pitch", "yaw_rad": "yaw of the gaze",
}  # fmt: skip
_FACES = ["sample_id", "group", "source_key"]


def reference_numbers(
    run: Path, facts: Mapping[str, Any], protocol: Protocol, predictions: pd.DataFrame, *, earlier: bool = False
) -> dict[str, tuple[MetricValue, ...]]:
    """Every number of each reference, by its name; intervals are those of formulas.

    Args:
        run: folder of the run, or of the evaluation.
        facts: of the run, the part `run`: `references` and `files`, the hashes.
        protocol: groups and thresholds.
        predictions: those of the model, whose faces the references must have.
        earlier: as of `score`.

    Raises:
        IntegrityError: predictions are missing, changed, without a stated hash, or of other faces than the model's.
    """
    found = {}
    for name, about in facts.get("references", {}).items():
        path, stated = safe_relative(run, str(about["path"])), facts.get("files", {}).get(str(about["path"]))
        if not path.is_file() or stated is None:
            raise IntegrityError(f"{path}: {'missing' if stated else 'its hash is not recorded'}; evaluate again")
        check_hash(path, str(stated))
        found[name] = scored_reference(read_predictions(path), protocol, predictions, str(path), earlier=earlier)
    return found


def scored_reference(
    frame: pd.DataFrame, protocol: Protocol, predictions: pd.DataFrame, where: str, *, earlier: bool = False
) -> tuple[MetricValue, ...]:
    """The numbers of one reference; `earlier` as of `score`.

    Raises:
        IntegrityError: it predicts other faces than the model.
    """
    mine, theirs = (set(rows[_FACES].astype(str).itertuples(index=False, name=None)) for rows in (frame, predictions))
    if mine != theirs:
        raise IntegrityError(f"{where}: {len(mine ^ theirs)} faces are not those of the predictions beside it")
    return score(frame, protocol, resamples=0, earlier=earlier).metrics


def shown_references(records: Sequence[ResultRecord]) -> tuple[dict[str, tuple[MetricValue, ...]], list[str]]:
    """The references of records that share faces, rules and training, for one row each, and notes.

    They do not depend on the model. Where records state different numbers, those of the record with most faces are
    shown, of several the first, so the best checked record comes first; a note names the reference. A record may lack
    one that others have: runs before the first gaze table have no `gaze-only`.
    """
    shown, notes = {}, []
    for name in dict.fromkeys(name for record in records for name in record.references):
        having = [record for record in records if name in record.references]
        most = max(having, key=_faces)
        shown[name], about = most.references[name], most.run.references[name]
        sees = {"estimator": ", of {}", "fingerprint": " ({:.8})"}
        origin = "".join(text.format(about.about[key]) for key, text in sees.items() if key in about.about)
        lacking = f"; {about.lacking:,} test faces have none of them" if about.lacking else ""
        notes.append(
            f"{name}: sees {listed([_WORDS.get(fact, fact) for fact in about.facts])} only{origin}; fitted on"
            f" {about.fitted_on:,} training faces{lacking}. A model that is not above it has not shown more."
        )
        same = [one for one in having if _faces(one) == _faces(most)]
        if any(_values(one.references[name]) != _values(shown[name]) for one in same):
            notes.append(f"{name}: records of these faces state different numbers; `dfad verify-record` checks them.")
    return shown, notes


def _faces(record: ResultRecord) -> int:
    return sum(group.n for group in record.groups.values())


def _values(metrics: Collection[MetricValue]) -> list[tuple[Any, ...]]:
    rounded = [(m.metric, m.subset, m.averaging, None if m.value is None else round(m.value, 6)) for m in metrics]
    return sorted(rounded, key=str)
