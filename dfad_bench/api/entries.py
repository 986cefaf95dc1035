"""Entries of the leaderboards: runs submitted, and entries verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dfad_bench.api.record_checks import config_hash, verified
from dfad_bench.api.runs import Run, list_of_runs, runs_of
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.escape import json_text
from dfad_bench.core.files import write_text
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.record import ResultRecord, read_record
from dfad_bench.core.run_folder import RunFolder, not_a_run
from dfad_bench.report.board_checks import Check
from dfad_bench.report.board_json import board_values
from dfad_bench.report.entries.checking import EntryCheck, all_faults, among_each_other, check_entry, find_entries
from dfad_bench.report.entries.content import CARD, started_from
from dfad_bench.report.entries.entry import WeightLicence
from dfad_bench.report.entries.writing import Submission, Submitted, submit_run
from dfad_bench.report.leaderboard import board, shipped_records

BOARD_FORMATS = {"markdown": ".md", "csv": ".csv", "json": ".json"}
_FURTHER = ("notes", "reference", "reference_licence")  # of a card, where they are said


@dataclass(frozen=True)
class VerifiedEntries:
    """What was found of every entry below a folder, and of other files there."""

    root: Path
    checks: tuple[EntryCheck, ...]
    further: tuple[str, ...] = ()

    @property
    def faults(self) -> list[str]:
        """All that does not hold, a line each."""
        return all_faults(self.checks, self.further)


def submit(
    runs: Sequence[Run] | Run,
    out: Path | str,
    *,
    replace: bool = False,
    licences: Mapping[str, str] | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> list[Submitted]:
    """Check finished runs and write their entries.

    A run is checked as `verify_record` checks it, its references and selected faces included, and then as a stranger
    would read its entry. Paths of the machine, its name and the user's are left out of the record, which is then
    another one; `left_out` says where they stood. Each run is an entry or is refused by itself, with all reasons.

    Args:
        runs: folders of runs, of several seeds each, or loaded runs.
        out: folder of all entries (`leaderboards/records` of a checkout).
        replace: let a run take the place of another entry of its settings and seed.
        licences: of weight files that `weights.yaml` does not know, by the name of the file.
        progress: shows the runs.

    Returns:
        What became of each run, in order.

    Raises:
        ConfigError: `out` cannot be a folder.
    """
    folders = [one for run in list_of_runs(runs) for one in runs_of(run)]
    root = Path(out)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{root}: cannot be a folder of entries ({error.strerror or error})") from error
    found = []
    progress.start("Checking runs", len(folders))
    for folder in folders:
        found.append(_submit_one(folder, root, replace, licences or {}))
        progress.advance(refused=sum(one.outcome == "refused" for one in found))
    progress.finish()
    return found


def verify_entries(
    root: Path | str | None = None,
    protocol: str | None = None,
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> VerifiedEntries:
    """Every number of every entry computed again from its predictions, and every name, size and hash checked.

    Args:
        root: folder of all entries; None: the shipped ones.
        protocol: only entries of this one.
        progress: shows the entries.

    Raises:
        ConfigError: no such folder.
    """
    from dfad_bench.data.select import rows_hash

    root = shipped_records() if root is None else Path(root)
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder of entries; `dfad submit RUN --out {root}` makes it")
    folders, further = find_entries(root)
    folders = [folder for folder in folders if protocol in (None, folder.relative_to(root).parts[0])]
    checks = []
    progress.start("Computing entries again", len(folders))
    for folder in folders:
        checks.append(check_entry(folder, root, rows_hash=rows_hash, config_hash=config_hash))
        progress.advance(wrong=sum(bool(one.faults) for one in checks))
    progress.finish()
    found, lines = among_each_other(checks, root)
    return VerifiedEntries(root, tuple(found), (*further, *(lines if protocol is None else ())))


def write_boards(
    out: Path | str,
    root: Path | str | None = None,
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> VerifiedEntries:
    """Verify every entry, then write the board of each protocol that has entries, as Markdown, CSV and JSON.

    What is written depends on entries and code alone, not on what was checked on this machine before. Where an entry
    does not hold, nothing is written.

    Args:
        out: folder of the boards.
        root: as of `verify_entries`.
        progress: shows the entries.

    Returns:
        What was found of the entries; boards are written where it has no faults.
    """
    found = verify_entries(root, progress=progress)
    if not found.faults:
        for name, text in board_files(found).items():
            write_text(Path(out) / name, text)
    return found


def board_files(found: VerifiedEntries) -> dict[str, str]:
    """The boards of verified entries, by the name of their file."""
    from dfad_bench.api.shipped import shipped_hash
    from dfad_bench.report.reported import reported_scores

    records = [check.record for check in found.checks if check.record is not None]
    checks = {c.record.record_id: _board_check(c) for c in found.checks if c.record is not None}
    files = {}
    for name in sorted({record.protocol.name for record in records}):
        protocol, printed = load_protocol(name), reported_scores(name)
        for kind, ending in BOARD_FORMATS.items():
            detailed = kind != "markdown"
            table = board(protocol, records, printed, per_group=detailed, checks=checks, shipped_hash=shipped_hash)
            text = json_text(board_values(table)) + "\n" if kind == "json" else table.render(kind)
            files[f"{name}{ending}"] = text
    return files


def _board_check(check: EntryCheck) -> Check:
    """Of a verified entry: its numbers follow, or what does not."""
    return Check("contradicted" if check.faults else "follows", "; ".join(check.faults[:2]), check.place)


def _submit_one(folder: Path, root: Path, replace: bool, licences: Mapping[str, str]) -> Submitted:
    path = RunFolder(folder).record
    try:
        if not path.is_file():
            raise ConfigError(not_a_run(folder, path.name))
        record = read_record(path)
        seen = verified(path)
        asked = Submission(folder, record, _card(record), _weights(record, licences), seen)
        return submit_run(asked, root, config_hash=config_hash, replace_old=replace)
    except DFADError as error:
        return Submitted(folder, "refused", reasons=(str(error),))
    except OSError as error:  # a folder that must not be written, or one that vanishes
        where = f" ({error.filename})" if error.filename else ""
        return Submitted(folder, "refused", reasons=(f"{error.strerror or error}{where}",))


def _card(record: ResultRecord) -> Mapping[str, Any] | None:
    """The card of a record's model, as it is installed here; of imported predictions what their author says."""
    from dfad_bench.core.registry import model_class, model_table

    if record.imported is not None:
        return {key: value for key, value in record.imported.card.items() if value}
    if record.model.name not in model_table():
        return None
    card = asdict(model_class(record.model.name).card)
    return {key: card[key] for key in CARD} | {key: card[key] for key in _FURTHER if card[key]}


def _weights(record: ResultRecord, licences: Mapping[str, str]) -> tuple[WeightLicence, ...]:
    """The licences of the weights that training started from: as asked, in the record, or of `weights.yaml`."""
    from dfad_bench.core.weights import weight_files

    rows = {name: row for row in weight_files().values() for name in (row.name, row.file)}
    found = []
    for name, digest in dict(started_from(record.model.init)).items():
        row = rows.get(name)
        known = row.licence if row is not None and row.sha256 in (None, digest) else ""
        if licence := licences.get(name) or str(record.model.init.get("licence") or "") or known:
            found.append(WeightLicence(name, digest, licence))
    return tuple(found)
