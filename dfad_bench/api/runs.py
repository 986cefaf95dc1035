"""Finished runs: opened, shown, compared, ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union

from dfad_bench.api.record_checks import record_checks, verified
from dfad_bench.api.run_source import run_path
from dfad_bench.api.shipped import shipped_hash
from dfad_bench.core.bounds import RESAMPLES
from dfad_bench.core.errors import ConfigError, DFADError, listed, quoted
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.record import ResultRecord, read_record
from dfad_bench.core.run_folder import RunFolder, not_a_run, runs_in
from dfad_bench.report.board_checks import Check, note_check
from dfad_bench.report.compare import Comparison, compare_runs
from dfad_bench.report.entries.layout import lost_entries
from dfad_bench.report.labels import mean_label, run_labels
from dfad_bench.report.leaderboard import board, read_records, record_paths, shipped_records
from dfad_bench.report.reported import reported_scores
from dfad_bench.report.run_record import protocol_of
from dfad_bench.report.run_tables import TABLES
from dfad_bench.report.seed_tables import mean_sweep, seeds_tables
from dfad_bench.report.table import Table

if TYPE_CHECKING:
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.engine.load import LoadedRun  # which imports torch; tables of records do without
    from dfad_bench.report.verify import Verification

Run = Union[Path, str, "LoadedRun"]
ScoreTable = Literal["metrics", "groups", "sweep", "confusion"]


def folder_of(run: Run) -> Path:
    """The folder of a run; of one in a repository of the hub, where it was fetched to."""
    return run_path(run) if isinstance(run, str | Path) else run.folder


def list_of_runs(runs: Sequence[Run] | Run) -> list[Run]:
    """One run or several as a list."""
    return [runs] if isinstance(runs, str) or not isinstance(runs, Sequence) else list(runs)


def record_of(run: Run) -> ResultRecord:
    """The record of a run, whatever it is given as.

    Raises:
        ConfigError: there is none.
        IntegrityError: changed after it was written.
    """
    path = RunFolder(folder_of(run)).record
    if not path.is_file():
        raise ConfigError(not_a_run(path.parent, path.name))
    return read_record(path)


def runs_of(run: Run) -> list[Path]:
    """The run folders that a folder stands for: those of several seeds where `dfad train --seeds` made it."""
    return runs_in(folder_of(run))


def scores(run: Run, table: ScoreTable = "metrics") -> Table:
    """All numbers of a finished run, or of each of several seeds and their mean.

    Args:
        run: its folder, the folder of runs of several seeds, or the loaded run.
        table: "metrics" is every number with its 95 % interval; "groups" a row a test group; "sweep" attribution over
            thresholds; "confusion" the class named most likely, by group.

    Returns:
        A table; `to_frame()` gives it as a DataFrame with shares as fractions, `render("markdown")` as text with
        percent. Of several seeds it has a column `seed`, "mean" in the last rows, whose intervals count seeds, too.

    Raises:
        ConfigError: no finished run, or no such table.
        IntegrityError: the record was changed after it was written.
    """
    if table not in TABLES:
        raise ConfigError(f"scores: no table {quoted(table)}; one of {', '.join(TABLES)}")
    records = [record_of(folder) for folder in runs_of(run)]
    return TABLES[table](records[0]) if len(records) == 1 else seeds_tables(records, table)


def leaderboard(
    protocol: Protocol | str,
    runs: Sequence[Run] | Run = (),
    *,
    per_group: bool = False,
    by_group: bool = False,
    columns: Sequence[str] = (),
    sort: str = "",
    every_seed: bool = False,
    reported: bool = True,
    check: bool = True,
    with_shipped: bool | None = None,
    entries: Path | str | None = None,
) -> Table:
    """The leaderboard of one protocol: constant models, measured runs, and what papers reported.

    Args:
        protocol: a protocol, or its name.
        runs: folders that are searched for runs at any depth, or loaded runs.
        per_group: a column for each unseen group, bounds of intervals and ranks, and the facts of each row.
        by_group: a column for each unseen group.
        columns: names of metrics, in place of the default columns of numbers.
        sort: number column by which rows are ordered, better values first; places stay those of OSCR.
        every_seed: a row for each seed, in place of means over seeds.
        reported: show what papers reported, too.
        check: compute the numbers of records that were not checked here before again from their predictions; without,
            they are claims.
        with_shipped: show the shipped entries, too; None: where no runs are given.
        entries: a folder of entries that stands for the shipped ones.

    Returns:
        A table; `to_frame()` gives raw fractions, `render("markdown")` text with percent.

    Raises:
        UnknownNameError: no such protocol or column.
        ConfigError: no such folder.
    """
    made = leaderboards(
        runs, protocol, per_group=per_group, by_group=by_group, columns=columns, sort=sort, every_seed=every_seed,
        reported=reported, check=check, with_shipped=with_shipped, entries=entries,
    )  # fmt: skip
    return next(iter(made.values()))


def leaderboards(
    runs: Sequence[Run] | Run,
    protocol: Protocol | str | None = None,
    *,
    per_group: bool = False,
    by_group: bool = False,
    columns: Sequence[str] = (),
    sort: str = "",
    every_seed: bool = False,
    reported: bool = True,
    check: bool = True,
    with_shipped: bool | None = None,
    entries: Path | str | None = None,
) -> dict[str, Table]:
    """The leaderboard of a protocol, or of every protocol that has records, by its name.

    Arguments as of `leaderboard`.

    Raises:
        ConfigError: no such folder, or neither a protocol nor records.
    """
    found = board_inputs(runs, protocol, check=check, with_shipped=with_shipped, entries=entries)
    about: dict[str, Any] = {"problems": found.problems, "columns": columns, "checks": found.checks}
    about |= {"per_group": per_group, "by_group": by_group, "sort": sort, "every_seed": every_seed}
    about["shipped_hash"] = shipped_hash
    made = {p.name: reported_scores(p.name) if reported else [] for p in found.protocols}
    return {p.name: board(p, found.records, made[p.name], **about) for p in found.protocols}


class BoardInputs(NamedTuple):
    """What boards are made of: records that could be read, the protocols asked for, and what was checked here."""

    protocols: list[Protocol]
    records: list[ResultRecord]
    problems: list[str]
    checks: dict[str, Check]


def board_inputs(
    runs: Sequence[Run] | Run,
    protocol: Protocol | str | None = None,
    *,
    others: Sequence[str] = (),
    check: bool = True,
    with_shipped: bool | None = None,
    entries: Path | str | None = None,
) -> BoardInputs:
    """The records under some folders, and the shipped ones where asked or none are given, and the protocols of boards.

    Args:
        runs: folders that are searched for runs at any depth, or loaded runs.
        protocol: a protocol, or its name; None for every protocol that has records.
        others: names of further protocols, then.
        check: see `leaderboard`.
        with_shipped: see `leaderboard`.
        entries: see `leaderboard`.

    Raises:
        ConfigError: no such folder, or no protocol.
    """
    folders = [folder_of(run) for run in list_of_runs(runs)]
    if absent := [str(folder) for folder in folders if not folder.is_dir()]:
        raise ConfigError(f"--runs {', '.join(absent)}: no such folder; `dfad train --out` makes runs")
    with_shipped = not folders if with_shipped is None else with_shipped
    own = shipped_records() if entries is None else Path(entries)
    if entries is not None and not own.is_dir():
        raise ConfigError(f"{own}: no such folder of entries; `dfad submit RUN --out {own}` makes it")
    every = [*folders, own] if with_shipped else folders
    found, problems = read_records(record_paths(every, with_shipped=False))
    records, problems = list(found.values()), [*problems, *lost_entries(every)]
    if protocol is not None:
        protocols = [load_protocol(protocol) if isinstance(protocol, str) else protocol]
    else:
        protocols = []
        for name, record in {record.protocol.name: record for record in records}.items():
            try:
                found_rules = protocol_of({"protocol": {"config": record.protocol.config}}, name)
                _ = found_rules.sha256  # which asks for its generators, unknown where their folder is not included
                protocols.append(found_rules)
            except DFADError as error:  # perhaps of a folder that is not included now
                problems.append(f"left out: protocol {name}: {error}")
        protocols += [load_protocol(name) for name in others if name not in {p.name for p in protocols}]
        if problems and not protocols:
            raise ConfigError(problems[-1])
        if not protocols:
            where = f"no records in {listed(folders)}" if folders else "no records found"
            other = "another folder" if folders else "a folder"
            raise ConfigError(f"{where}; name a --protocol, or {other} with finished runs by --runs")
    names = {protocol.name for protocol in protocols}
    checks = record_checks({path: record for path, record in found.items() if record.protocol.name in names}, check)
    return BoardInputs(protocols, records, problems, checks)


def compare(run_a: Run, run_b: Run, *, everything: bool = False, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Test whether one run is better than another on the very same test faces.

    Args:
        run_a: folder, folder of runs of several seeds, or loaded run.
        run_b: another, of the same protocol and faces.
        everything: every number, groups and near and far ones, too.
        resamples: of the paired bootstrap.
        seed: of the paired bootstrap.

    Returns:
        Every number of both runs, their difference with its interval, the p-value of its test and Holm's. Of several
        seeds, means over seeds, and each seed in `of_seeds`.

    Raises:
        ConfigError: not finished runs, or runs that cannot be compared; says in what they differ.
        IntegrityError: predictions are not those of their record.
    """
    if not 1 <= resamples <= RESAMPLES:
        raise ConfigError(f"compare: resamples must be 1 to {RESAMPLES:,}, got {resamples!r}")
    return compare_runs(folder_of(run_a), folder_of(run_b), everything=everything, resamples=resamples, seed=seed)


def draw_sweeps(runs: Sequence[Run], path: Path, *, labels: Sequence[str] | None = None) -> list[str]:
    """Draw the shares over thresholds of several runs into one figure; of several seeds each and their mean.

    Args:
        runs: folders, or loaded runs.
        path: the figure, .png, .svg or .pdf.
        labels: what each run is called in the figure; by default the model's name, with the seed where needed.

    Returns:
        A line for each run that is not drawn.

    Raises:
        ConfigError: no run has anything to draw.
    """
    from dfad_bench.report.figures.sweep import draw_sweep

    folders = [runs_of(run) for run in runs]
    every = [folder for several_seeds in folders for folder in several_seeds]
    records = {folder: record_of(folder) for folder in every}
    shown = labels or run_labels([records[folder] for folder in every], every)
    named = {label: records[folder].sweep for label, folder in zip(shown, every, strict=True)}
    for seeds in folders:
        swept = [records[folder].sweep for folder in seeds]
        known = [sweep for sweep in swept if sweep is not None]
        if len(seeds) == len(known) > 1:
            named[mean_label([records[folder] for folder in seeds], list(named))] = mean_sweep(known)
    drawn = {name: sweep for name, sweep in named.items() if sweep is not None}
    if not drawn:
        raise ConfigError(f"--figure {path}: no run has a sweep; the attribution expert was not trained")
    draw_sweep(path, drawn)
    return [
        f"{name} is not drawn: its attribution expert was not trained" for name in sorted(named.keys() - drawn.keys())
    ]


def record_table(record: ResultRecord, path: Path, *, built: bool = True) -> Table:
    """A record beside the constant models of its protocol; `built`: its numbers were computed just now."""
    protocol = protocol_of({"protocol": {"config": record.protocol.config}}, str(path))
    checks = {record.record_id: Check("follows", "")} if built else record_checks({path: record}, check=True)
    return board(protocol, [record], checks=checks, shipped_hash=shipped_hash)


def verify_record(
    run: Run,
    *,
    repredict: Sequence[Path | str | Manifest] = (),
    device: str = "auto",
    views: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> Verification:
    """Every number of a record computed again from its predictions, and every hash compared.

    What was found is noted for later boards of this user (see `report.board_checks`), never in the run's folder.

    Args:
        run: the folder of a run, an evaluation or a robustness evaluation, the loaded run, a record beside its
            predictions, or a run's `sensitivity-<hash>.json`. Of a folder of several seeds every run is checked, and
            their mean.
        repredict: manifests, one a dataset of the protocol: the checkpoint predicts their faces again, and predictions
            and numbers are compared with the stored ones. None: only what is in the folder is checked, without torch.
        device: where to predict: auto, cpu, cuda or cuda:N.
        views: settings of the views the model needs, where they are not those it was trained with.
        progress: shows decoding and predicting.

    Returns:
        How many numbers and hashes were compared, what differs (nothing where all agree), what could not be checked,
        and how the new predictions compare.

    Raises:
        ConfigError: no record there, or one that cannot be read, or no checkpoint to predict with.
        ProtocolError: the manifests have no faces of the protocol.
    """
    from dfad_bench.report.sensitivity_record import is_sensitivity
    from dfad_bench.report.verify_seeds import verify_seeds

    if is_sensitivity(folder_of(run)):
        if repredict:
            where = "predict the records of the run and its evaluations again"
            raise ConfigError(f"{folder_of(run)}: holds numbers of several evaluations and no predictions; {where}")
        return verified(folder_of(run))
    folders, found = runs_of(run), []
    for folder in folders:
        one = verified(folder)
        if repredict:
            one = _predicted_again(one, repredict, device, views or {}, progress)
        note_check(one)
        found.append(one)
    return found[0] if folders == [folder_of(run)] else verify_seeds(folder_of(run), found)


def _predicted_again(
    found: Verification,
    manifests: Sequence[Path | str | Manifest],
    device: str,
    views: Mapping[str, Mapping[str, Any]],
    progress: Progress,
) -> Verification:
    """What was found, and how new predictions compare."""
    from dfad_bench.api.manifests import open_manifests
    from dfad_bench.api.views import provide_views, views_of_run
    from dfad_bench.engine.config import read_config
    from dfad_bench.engine.repredict import repredict, run_beside
    from dfad_bench.engine.settings import EvaluateSettings
    from dfad_bench.report.verify import with_predictions

    opened, run = open_manifests(manifests), run_beside(found.record.parent)
    asked = EvaluateSettings(device=device, views=views_of_run(read_config(run.path).views, views))
    provided = provide_views(opened, asked.views, device, progress)
    made = repredict(found.record, opened, asked, views=provided, progress=progress)
    return with_predictions(
        found, made.frame, unlike=made.unlike, manifest_sha256=made.manifest_sha256, parts=made.parts,
        references=made.references, no_references=made.no_references, outputs=made.outputs,
    )  # fmt: skip
