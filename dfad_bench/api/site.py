"""Leaderboards as a folder of static pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dfad_bench.api.runs import BoardInputs, Run, board_inputs
from dfad_bench.api.shipped import shipped_hash
from dfad_bench.core.errors import DFADError
from dfad_bench.core.protocol import Protocol, protocol_names
from dfad_bench.core.version import __version__
from dfad_bench.report.board_columns import board_columns, default_columns, known_columns
from dfad_bench.report.leaderboard import board
from dfad_bench.report.reported import reported_scores
from dfad_bench.report.site.facts import SiteBoard, SiteFacts
from dfad_bench.report.site.folder import write_site
from dfad_bench.report.site.render import site_files
from dfad_bench.report.site.run_curves import read_curves

_CARD = ("display", "paper", "year", "task", "idea", "added", "deviations", "notes", "reference", "reference_licence")
_DATASET = (
    "title", "licence", "homepage", "citation", "obtain", "crop", "expected", "expected_of", "reals_in", "notes",
    "unknown",
)  # fmt: skip


def leaderboard_site(
    runs: Sequence[Run] | Run,
    out: Path | str,
    protocol: Protocol | str | None = None,
    *,
    columns: Sequence[str] = (),
    sort: str = "",
    every_seed: bool = False,
    reported: bool = True,
    check: bool = True,
    with_shipped: bool | None = None,
    entries: Path | str | None = None,
) -> Path:
    """Write leaderboards as static pages, which need no server and load nothing from elsewhere.

    Args:
        runs: folders that are searched for runs at any depth, or loaded runs.
        out: folder of the site, new, empty or with an earlier site.
        protocol: a protocol, or its name; None for every protocol with records or reported rows.
        columns: names of metrics shown at first, in place of the default columns; a reader can show all.
        sort: see `leaderboard`.
        every_seed: see `leaderboard`.
        reported: see `leaderboard`.
        check: see `leaderboard`.
        with_shipped: see `leaderboard`.
        entries: see `leaderboard`.

    Returns:
        The front page.

    Raises:
        UnknownNameError: no such protocol or column.
        ConfigError: no such folder, or `out` holds other things.
    """
    printed = {name: reported_scores(name) for name in protocol_names()} if reported else {}
    others = [name for name, scores in printed.items() if scores]
    found = board_inputs(runs, protocol, others=others, check=check, with_shipped=with_shipped, entries=entries)
    boards = []
    for one in found.protocols:
        shown = columns or default_columns(one)
        scores = reported_scores(one.name) if reported else []
        table = board(
            one, found.records, scores, problems=found.problems, checks=found.checks, shipped_hash=shipped_hash,
            columns=list(dict.fromkeys([*shown, *known_columns()])), sort=sort, every_seed=every_seed,
        )  # fmt: skip
        first = board_columns(one, printed=bool(scores), per_group=False, chosen=shown)
        boards.append(SiteBoard(one, table, frozenset(column.key for column in first)))
    write_site(Path(out), site_files(site_facts(boards, found)))
    return Path(out) / "index.html"


def site_facts(boards: Sequence[SiteBoard], found: BoardInputs, made: str | None = None) -> SiteFacts:
    """The facts of the pages: of boards, and of what is installed here of the models and datasets they name."""
    shown = {name for one in boards for row in one.table.rows for name in row.get("record_ids", ())}
    records = [record for record in found.records if record.record_id in shown]
    datasets = dict.fromkeys(group.dataset for one in boards for group in one.protocol.all_groups)
    made = made or datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    cards = _cards(dict.fromkeys(record.model.name for record in records))
    curves = {
        record.record_id: read_curves(Path(check.place), record)
        for record in records
        if (check := found.checks.get(record.record_id)) is not None and check.place
    }
    return SiteFacts(boards, records, found.checks, cards, _datasets(datasets), curves, __version__, made)


def _cards(names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The cards of the models that are registered here."""
    from dfad_bench.core.registry import model_class, model_table

    known, found = model_table(), dict[str, Mapping[str, Any]]()
    for name in names:
        if name not in known:
            continue
        try:
            card = asdict(model_class(name).card)
        except ImportError:  # an installation without torch: the page says that the card is not shown
            continue
        found[name] = {key: card[key] for key in _CARD}
    return found


def _datasets(names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """What the files of the datasets say that are shipped or included here."""
    from dfad_bench.ingest.sources.spec import load_dataset_spec

    found: dict[str, Mapping[str, Any]] = {}
    for name in names:
        try:
            spec = load_dataset_spec(name)
        except DFADError:  # of a folder that is not included now: its page says so
            continue
        found[name] = {key: getattr(spec, key) for key in _DATASET}
    return found
