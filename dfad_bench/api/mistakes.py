"""Which faces a finished run mistook: as tables, as CSV, and as pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.runs import Run, folder_of, record_of, runs_of
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import write_text
from dfad_bench.core.record import ResultRecord
from dfad_bench.data.contact_sheet import LETTERS, draw_faces
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import manifests_hash, manifests_used
from dfad_bench.report.mistakes import TASKS, mistakes_tables
from dfad_bench.report.run_record import protocol_of, read_predictions
from dfad_bench.report.table import Table

FACES = 48  # drawn on a sheet

Files = Mapping[str, tuple[str, int | None]]  # source file and frame of a face


@dataclass(frozen=True)
class Mistakes:
    """The mistaken faces of a run, a row a face, the most confident first, and the files that were written.

    Of runs of several seeds, `seeds` has those of each; the tables are then of the first.
    """

    folder: Path
    attribution: Table = field(repr=False)
    detection: Table = field(repr=False)
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    seeds: tuple[Mistakes, ...] = field(default=(), repr=False)


def mistakes(
    run: Run,
    manifests: Sequence[Path | str | Manifest] = (),
    out: Path | str | None = None,
    *,
    faces: int = FACES,
) -> Mistakes:
    """Find the test faces that a finished run mistook; with `out`, write and draw them.

    `out` then holds `attribution.csv` and `detection.csv`, a row a mistaken face, and with manifests
    `attribution.png` and `detection.png`, the first `faces` of each with what they are and were called. Every file is
    whole or absent, and a sheet of an earlier call that no longer holds is removed. Of several seeds each has a folder.

    Args:
        run: its folder, the folder of runs of several seeds, or the loaded run.
        manifests: folders, or open manifests, of the faces it was tested on: for pictures and the names of files.
        out: folder for the files.
        faces: pictures on a sheet, 1 or more.

    Raises:
        ConfigError: no finished run, mistaken faces that are in none of the manifests, or `out` is a file.
        IntegrityError: the predictions are not those of the record, or a manifest is damaged.
    """
    if faces < 1:
        raise ConfigError(f"faces: {faces}, expected 1 or more")
    place = None if out is None else Path(out)
    if place is not None and place.exists() and not place.is_dir():
        raise ConfigError(f"{place}: is a file; name a folder for the mistaken faces")
    opened, folders = open_manifests(manifests), runs_of(run)
    if folders == [folder_of(run)]:
        return _of_run(folders[0], opened, place, faces)
    found = tuple(_of_run(one, opened, place and place / one.name, faces) for one in folders)
    written = tuple(path for one in found for path in one.files)
    notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
    return Mistakes(folder_of(run), found[0].attribution, found[0].detection, written, notes, found)


def _of_run(folder: Path, manifests: Sequence[Manifest], out: Path | None, faces: int) -> Mistakes:
    record = record_of(folder)
    protocol = protocol_of({"protocol": {"config": record.protocol.config}}, str(folder))
    about = {"path": record.predictions.path, "sha256": record.predictions.sha256}
    tables = mistakes_tables(record, read_predictions(folder, about), protocol)
    notes = []
    if manifests:
        files = _files(manifests, tables, record)
        tables = mistakes_tables(record, read_predictions(folder, about), protocol, files)
        if manifests_hash(manifests_used(protocol, manifests)) != record.manifest.content_sha256:
            notes.append("the manifests are not the very ones of the run: pictures may be cropped in another way")
    written = () if out is None else _write(out, tables, manifests, faces)
    return Mistakes(folder, tables["attribution"], tables["detection"], written, tuple(notes))


def _files(manifests: Sequence[Manifest], tables: Mapping[str, Table], record: ResultRecord) -> Files:
    """Source file and frame of every mistaken face."""
    wanted = {str(row["sample_id"]): str(row["group"]) for table in tables.values() for row in table.rows}
    found: dict[str, tuple[str, int | None]] = {}
    for manifest in manifests:
        rows = manifest.frame(["sample_id", "origin", "frame"])
        rows = rows[rows["sample_id"].isin(list(wanted))]
        for identity, origin, frame in rows.itertuples(index=False, name=None):
            found[str(identity)] = (str(origin), None if frame is None or frame != frame else int(frame))
    if lacking := sorted(wanted.keys() - found.keys()):
        names = ", ".join(manifest.name for manifest in manifests)
        raise ConfigError(
            f"--manifest {names}: lacks {len(lacking)} of {len(wanted)} mistaken faces, such as {lacking[0]} of"
            f" {wanted[lacking[0]]}; give the manifests the run was tested on ({record.manifest.name})"
        )
    return found


def _write(out: Path, tables: Mapping[str, Table], manifests: Sequence[Manifest], faces: int) -> tuple[Path, ...]:
    """Draw first, since that may fail; then write."""
    sheets = {task: _sheet(tables[task], manifests, faces) for task in TASKS} if manifests else {}
    written = []
    for task in TASKS:
        path = out / f"{task}.csv"
        write_text(path, tables[task].render("csv"))
        written.append(path)
        picture = out / f"{task}.png"
        if sheets.get(task):
            draw_faces(tables[task].title, sheets[task], picture)
            written.append(picture)
        else:
            picture.unlink(missing_ok=True)  # of an earlier call
    return tuple(written)


def _sheet(table: Table, manifests: Sequence[Manifest], faces: int) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    """Pixels and caption of the first faces of a table."""
    rows = list(table.rows[:faces])
    left, found = {str(row["sample_id"]) for row in rows}, dict[str, np.ndarray]()
    for manifest in manifests:
        here = left & set(manifest.frame(["sample_id"])["sample_id"])
        found.update((crop.sample_id, crop.pixels()) for crop in manifest.crops(here))
        left -= here
    return [(found[str(row["sample_id"])], _caption(row)) for row in rows]


def _caption(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The answer and its confidence, what the face is, and its file."""
    where = row["origin"] if row["frame"] is None else f"{row['origin']} #{row['frame']}"
    answer = f"{100 * row['confidence']:.1f} % {row['called']}"
    cut = answer if len(answer) <= LETTERS else answer[: LETTERS - 1] + "…"  # a longer line loses its front
    return cut, f"is {row['group']}", str(where)
