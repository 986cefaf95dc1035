"""Predictions of others, scored as if a run here had made them, and never ranked with those that did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.runs import record_table
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.imported import Imported
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.data.crop_profiles import refuse_mixed
from dfad_bench.data.manifest import Manifest
from dfad_bench.intake.settings import CallableSettings, ImportSettings
from dfad_bench.report.table import Table

if TYPE_CHECKING:
    from dfad_bench.intake.columns import Columns
    from dfad_bench.intake.prepared import PreparedImport
    from dfad_bench.intake.table import RawTable


@dataclass(frozen=True)
class ImportedRun:
    """A run folder of predictions made elsewhere: its record, the record as a board, and what a reader must know."""

    folder: Path
    record: ResultRecord
    table: Table
    warnings: tuple[str, ...]


def import_predictions(
    file: Path | str,
    out: Path | str,
    settings: ImportSettings = ImportSettings(),  # noqa: B008  frozen
    manifests: Sequence[Path | str | Manifest] = (),
) -> ImportedRun:
    """Score predictions that were made elsewhere, and write them as a run.

    Args:
        file: CSV, JSON lines or Parquet; see `docs/imported.md` for the columns.
        out: the folder of the run; one that holds a run is refused.
        settings: the protocol (with `manifests`), which column serves as what, limits.
        manifests: of the protocol's datasets; without a protocol none.

    Raises:
        ConfigError: the table cannot be understood, is mostly of other faces, or leaves out too many.
        ProtocolError: the manifests lack groups of the protocol.
    """
    from dfad_bench.intake.table import read_raw_table

    if settings.models or settings.model_column:
        raise ConfigError("--models and --model-column make several runs: import_models")
    return _imported(read_raw_table(Path(file)), Path(out), settings, manifests)


def import_models(
    file: Path | str,
    out: Path | str,
    settings: ImportSettings,
    manifests: Sequence[Path | str | Manifest] = (),
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> tuple[ImportedRun, ...]:
    """Score the predictions of several models in one table, each as a run of its own.

    Args:
        file: wide, with a column of `p_fake` of each model (`settings.models`), or long, with a column that names the
            model of a row (`settings.model_column`).
        out: the folder of the runs, each in a folder of its model's name.
        settings: as of `import_predictions`.
        manifests: the same.
        progress: one step a model.

    Raises:
        ConfigError: as of `import_predictions`; both or neither of the two, or models that would share a folder. Models
            before the one that failed are there.
    """
    from dfad_bench.intake.several import models_of
    from dfad_bench.intake.table import read_raw_table

    whole, runs = read_raw_table(Path(file)), []
    parts = models_of(whole, settings)
    progress.start("Models", len(parts))
    try:
        for part in parts:
            runs.append(_imported(whole, Path(out) / part.folder, part.settings, manifests, scored_in=part.column))
            progress.advance()
    finally:
        progress.finish()
    return tuple(runs)


def _imported(
    whole: RawTable,
    out: Path,
    settings: ImportSettings,
    manifests: Sequence[Path | str | Manifest],
    scored_in: str | None = None,
) -> ImportedRun:
    """The run of one model; rows without a value in the column `scored_in` have no answer of it."""
    from dfad_bench.intake.columns import resolve_columns, with_rows_asked_for
    from dfad_bench.intake.deepsafe import LICENCE, matrix_table
    from dfad_bench.intake.dfwb import score_file
    from dfad_bench.intake.folder import read_card, refuse_taken, write_import
    from dfad_bench.intake.several import with_answers

    if bool(manifests) != (settings.protocol is not None):
        raise ConfigError("--protocol and --manifest need each other; without both, the table's own columns serve")
    if settings.name is not None and settings.model_card is not None:
        raise ConfigError("--name and --model-card: the card names the model")
    refuse_taken(out)
    card = read_card(settings.model_card, settings.name or whole.path.stem.removesuffix(".scores"))
    table, others = with_rows_asked_for(whole, settings.only)
    without: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    if settings.layout == "dfwb":
        table, without, notes = score_file(table, settings.labels)
    elif settings.layout == "deepsafe":
        table, notes = matrix_table(table), (LICENCE,)
    if scored_in is not None:
        table, without = with_answers(table, scored_in)
    columns = resolve_columns(table, settings)
    prepared = _prepared(table, columns, settings, manifests, without)
    prepared = replace(prepared, warnings=(*prepared.warnings, *notes))
    left_out = {**prepared.left_out, **without, **({"rows not asked for": others} if others else {})}
    imported = Imported(
        whole.path.name, whole.sha256, whole.format, prepared.matched_by, len(whole), len(prepared.frame),
        prepared.unmatched, prepared.missing_faces, left_out, columns.names,
    )  # fmt: skip
    return _scored(out, write_import(prepared, imported, card, out))


def _prepared(
    table: RawTable,
    columns: Columns,
    settings: ImportSettings,
    manifests: Sequence[Path | str | Manifest],
    without: dict[str, int],
) -> PreparedImport:
    """The rows under the protocol asked for, else under one made of the columns; `without`: rows without an answer."""
    from dfad_bench.intake.match import matched_import
    from dfad_bench.intake.matrix import matrix_import
    from dfad_bench.intake.several import without_some

    if settings.protocol is None:
        prepared = matrix_import(table, columns, settings.set_name, settings.labels, settings.keep)
        return without_some(prepared, without, settings.max_missing, f"{table.path}")
    asked = settings.protocol
    protocol = load_protocol(asked) if isinstance(asked, str) else asked
    opened = open_manifests(manifests)
    refuse_mixed(protocol, opened)
    return matched_import(table, columns, protocol, opened, settings)


def evaluate_callable(
    function: str | Callable[[np.ndarray], Any],
    out: Path | str,
    settings: CallableSettings,
    manifests: Sequence[Path | str | Manifest],
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> ImportedRun:
    """Score a function of one's own, from a batch of images to probabilities, on the test faces of a protocol.

    Args:
        function: `package.module:function`, or the function. It is given images (n, side, side, 3), RGB, uint8 or
            float32 (`settings.images`), and returns `p_fake` (n,), or a pair of class probabilities (n, x) in the order
            of the protocol's labels and `p_fake` (n,).
        out: the folder of the run; one that holds a run is refused.
        settings: the protocol, what the images are, how many at a time.
        manifests: of the protocol's datasets.
        progress: shows decoding and predicting.

    Raises:
        ConfigError: no such function.
        DFADError: it raises an error, returns something else, or looks at the other faces of a batch.
        ProtocolError: the manifests lack groups of the protocol.
    """
    from dfad_bench.intake.callables import callable_import, load_function
    from dfad_bench.intake.folder import read_card, refuse_taken, write_import

    if settings.name is not None and settings.model_card is not None:
        raise ConfigError("--name and --model-card: the card names the model")
    refuse_taken(Path(out))
    asked, opened = settings.protocol, open_manifests(manifests)
    protocol = load_protocol(asked) if isinstance(asked, str) else asked
    refuse_mixed(protocol, opened)
    name = function if isinstance(function, str) else getattr(function, "__qualname__", type(function).__name__)
    card = read_card(settings.model_card, settings.name or name.rpartition(":")[2])
    called, digest = load_function(function) if isinstance(function, str) else (function, None)
    prepared = callable_import(
        called, name, protocol, opened, images=settings.images, batch_size=settings.batch_size,
        allow_partial=settings.allow_partial, progress=progress,
    )  # fmt: skip
    imported = Imported(name, digest, None, "callable", prepared.rows, len(prepared.frame))
    return _scored(Path(out), write_import(prepared, imported, card, Path(out)))


def _scored(out: Path, warnings: tuple[str, ...]) -> ImportedRun:
    """The record of an import that is written, and the board of it alone."""
    from dfad_bench.report.run_record import build_record

    record = build_record(out)
    return ImportedRun(out, record, record_table(record, RunFolder(out).record), warnings)
