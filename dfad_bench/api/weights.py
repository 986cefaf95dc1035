"""Weight files of others: fetched under their names, checked, found."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.core.errors import ConfigError, DFADError, UnknownNameError, WeightsError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.weight_pins import read_pins
from dfad_bench.core.weights import WeightFile, how_to_get, place_of, weight_files
from dfad_bench.sharing.fetch import FetchedFile, fetch_file
from dfad_bench.sharing.hub_files import hub_facts
from dfad_bench.sharing.places import HubFile, file_place, terms_of_library
from dfad_bench.sharing.weight_check import WeightFinding, check_file

if TYPE_CHECKING:
    from dfad_bench.report.table import Table

_SOURCES = ("hf://", "timm:", "open_clip:")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".onnx", ".task", ".pkl", ".tar", ".ckpt")


@dataclass(frozen=True)
class FetchReport:
    """Files that are there now, and what went wrong with the others, by name."""

    files: tuple[FetchedFile, ...] = ()
    errors: dict[str, DFADError] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightPlace:
    """Where a file is or belongs (None: `$DFAD_WEIGHTS` is not set), whether it is there, and how to get it."""

    name: str
    path: Path | None
    present: bool
    how: str


def fetch_weights(
    names: Sequence[str], *, accept: Collection[str] = (), ask: Callable[[WeightFile], bool] | None = None,
    repin: bool = False, progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> FetchReport:  # fmt: skip
    """Fetch weight files into `$DFAD_WEIGHTS`: resumed, compared with every hash that is known, opened without code.

    A hash that nobody has published is pinned in `weights.lock.json` there: the name stays that file.

    Args:
        names: of `weights.yaml`, or `timm:NETWORK.TAG`, `open_clip:ARCHITECTURE/TAG`, `hf://OWNER/NAME/FILE`.
        accept: names whose licence is accepted; only files under a plain open licence need none.
        ask: asks for a licence that is not accepted; None refuses it.
        repin: take another file than the one pinned.
        progress: counts bytes.

    Raises:
        ConfigError: `$DFAD_WEIGHTS` is not set.
        UnknownNameError: a name that nothing has.
    """
    folder = os.environ.get("DFAD_WEIGHTS")
    if not folder:
        raise ConfigError("DFAD_WEIGHTS is not set; set it to the folder where weight files are to lie")
    unknown = [name for name in names if name not in weight_files() and not name.startswith(_SOURCES)]
    if unknown:
        raise UnknownNameError("weight file", unknown[0], weight_files())
    accepted = {_row_name(name) for name in accept} | {*accept}
    files: list[FetchedFile] = []
    errors: dict[str, DFADError] = {}
    for name in dict.fromkeys(names):
        try:
            row = weight_files().get(name) or _unlisted_row(name)
            made = fetch_file(
                row, Path(folder), accepted=accepted, ask=ask, repin=repin, progress=progress
            )  # fmt: skip
            files.append(made)
        except DFADError as error:  # of one file: the others are fetched all the same
            errors[name] = error
    return FetchReport(tuple(files), errors)


def check_weights(names: Sequence[str] = ()) -> tuple[Table, tuple[WeightFinding, ...]]:
    """What is there of weight files: each opened without running code, and compared with its hash.

    Args:
        names: of `weights.yaml`, or files; none are all that lie under `$DFAD_WEIGHTS` or were fetched before.

    Returns:
        A row a file, and the findings it shows.

    Raises:
        UnknownNameError: a name that nothing has.
    """
    rows = weight_files()
    folder = os.environ.get("DFAD_WEIGHTS")
    pins = read_pins(Path(folder)) if folder else {}
    by_file = {row.file: row for row in rows.values()}
    asked: dict[str, tuple[Path | None, WeightFile | None]] = {}
    for name in names:
        if name in rows:
            asked[name] = (place_of(rows[name]), rows[name])
        elif name.startswith(_SOURCES):
            found = _fetched_before(name)
            asked[name] = (found, None)
        elif Path(name).suffix or "/" in name:
            asked[name] = (Path(name), by_file.get(Path(name).name) if _is_in(Path(name), folder) else None)
        else:
            raise UnknownNameError("weight file", name, rows)
    if not names and folder:
        here = {path.name for path in Path(folder).iterdir() if path.is_file()} if Path(folder).is_dir() else set()
        for file in sorted({*pins, *(here & by_file.keys())}):
            row = by_file.get(file)
            asked[row.name if row else file] = (Path(folder) / file, row)
    findings = tuple(
        check_file(name, path, row, pins.get(path.name) if path is not None and _is_in(path, folder) else None)
        for name, (path, row) in asked.items()
    )
    return _findings_table(findings), findings


def find_weight_place(name: str) -> WeightPlace:
    """Where the file of a name is, or where to put it.

    Raises:
        UnknownNameError: a name that nothing has.
    """
    row = weight_files().get(name)
    if row is None and name.startswith(_SOURCES):
        found = _fetched_before(name)
        return WeightPlace(name, found, found is not None, f"`dfad weights fetch {name}`")
    if row is None:
        raise UnknownNameError("weight file", name, weight_files())
    place = place_of(row)
    fetched = f"`dfad weights fetch {name}`, or " if row.source else ""
    return WeightPlace(name, place, place is not None and place.is_file(), fetched + how_to_get(row))


def _unlisted_row(source: str) -> WeightFile:
    """A row for a file that timm, open_clip or the hub knows and `weights.yaml` does not."""
    place = file_place(source)
    if not isinstance(place, HubFile):
        file, source_used = place.url.rpartition("/")[2], place.url
    else:
        facts = hub_facts(place)
        file = facts.file
        source_used = f"hf://{place.repo}/{facts.file}@{facts.revision}"
    suffix = Path(file).suffix
    if suffix not in _SUFFIXES:
        raise WeightsError(f"{source}: {file} is no weight file ({', '.join(_SUFFIXES)})")
    return WeightFile(
        _row_name(source), _file_stem(source) + suffix, source, terms_of_library(source), source=source_used
    )  # fmt: skip


def _row_name(source: str) -> str:
    return re.sub("[^a-z0-9]+", "_", source.lower()).strip("_")


def _file_stem(source: str) -> str:
    plain = re.sub("[^A-Za-z0-9_.+-]+", "-", source).strip("-.")
    return plain.removesuffix(Path(plain).suffix) if Path(plain).suffix in _SUFFIXES else plain


def _fetched_before(source: str) -> Path | None:
    """The file that was fetched by a name that `weights.yaml` does not have."""
    folder = os.environ.get("DFAD_WEIGHTS")
    places = (Path(folder) / (_file_stem(source) + suffix) for suffix in _SUFFIXES) if folder else ()
    return next((path for path in places if path.is_file()), None)


def _is_in(path: Path, folder: str | None) -> bool:
    return bool(folder) and path.resolve().parent == Path(str(folder)).resolve()


def _findings_table(findings: Sequence[WeightFinding]) -> Table:
    from dfad_bench.report.table import Column, Table

    titles = {"name": "Name", "verdict": "Verdict", "size": "Bytes", "sha256": "SHA-256", "why": "Notes"}
    columns = tuple(Column(key, title, "text") for key, title in titles.items())
    rows = [
        {
            "name": found.name,
            "verdict": found.verdict,
            "size": "" if found.size is None else f"{found.size:,}",
            "sha256": found.sha256 or "",
            "why": found.why,
        }
        for found in findings
    ]
    return Table("Weight files", columns, rows, () if rows else ("no weight files under $DFAD_WEIGHTS",))
