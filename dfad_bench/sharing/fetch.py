"""A named weight file fetched into `$DFAD_WEIGHTS`: whole and checked under its name, or not there at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError, WeightsError, quoted
from dfad_bench.core.files import move_into_place, sha256_file
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.weight_pins import PINS, Pin, read_pins, write_pin
from dfad_bench.core.weights import WeightFile, how_to_get
from dfad_bench.sharing.download import DownloadError, Limits, download, forget_part
from dfad_bench.sharing.hub_files import HubFacts, fetch_hub_file, hub_facts
from dfad_bench.sharing.licences import is_open
from dfad_bench.sharing.places import HubFile, WebFile, file_place
from dfad_bench.sharing.weight_check import check_content

_PARTIAL = ".partial"
_LOCK_SECONDS = 6 * 3600.0  # for another process that fetches the same file
AskLicence = Callable[[WeightFile], bool]


@dataclass(frozen=True)
class FetchedFile:
    """A weight file that is there now; `state` "present": it was before. `notes` for the reader."""

    name: str
    path: Path
    size: int
    sha256: str
    state: Literal["fetched", "present"]
    notes: tuple[str, ...] = ()


def fetch_file(
    row: WeightFile, folder: Path, *, accepted: Collection[str] = (), ask: AskLicence | None = None,
    repin: bool = False, limits: Limits = Limits(), progress: Progress = NoProgress(),  # noqa: B008  frozen, stateless
) -> FetchedFile:  # fmt: skip
    """Have a weight file under its name: fetched, compared with every hash known of it, opened without running code.

    Args:
        row: what is to be fetched.
        folder: `$DFAD_WEIGHTS`.
        accepted: names of the weight files whose licence the user accepts.
        ask: asks the user for a licence that is not accepted; None where nobody is there to answer.
        repin: take another file than the one that was fetched by this name before.
        limits: of size and time.
        progress: counts bytes.

    Raises:
        ConfigError: the licence is not accepted, or the folder cannot be used.
        DownloadError: not reachable; says where to put the file.
        IntegrityError: another file than the published, or than the one fetched before.
        WeightsError: a file that holds no weights, or needs code to be run.
    """
    place = folder / row.file
    with _locked(folder, row, progress):
        if place.exists() or place.is_symlink():
            return _present(row, place, repin)
        before = read_pins(folder).get(row.file)
        if row.source is None:
            raise WeightsError(f"weights {quoted(row.name)} cannot be fetched by a program; {how_to_get(row)}")
        needs_word = not is_open(row.licence)
        if needs_word and row.name not in accepted and not (ask is not None and ask(row)):
            raise ConfigError(
                f"weights {quoted(row.name)}: licence {row.licence}; read the terms ({row.origin}) and add"
                f" --accept-licence {row.name} if you accept them"
            )
        try:
            made, facts = _bring(row, folder, limits, progress)
        except DownloadError as error:
            raise DownloadError(f"{error}; {how_to_get(row)}") from error
        pin = Pin(
            sha256_file(made), made.stat().st_size, row.name, row.source, facts.revision if facts else None,
            needs_word, datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        notes = _checked(row, made, pin, None if repin else before)
        move_into_place(made, place)
        with _locked_pins(folder):
            write_pin(folder, row.file, pin)
        _clean(folder, row)
    return FetchedFile(row.name, place, pin.size, pin.sha256, "fetched", notes)


def _bring(row: WeightFile, folder: Path, limits: Limits, progress: Progress) -> tuple[Path, HubFacts | None]:
    """The file from its place outside, unchecked, in the folder of unfinished ones."""
    assert row.source is not None
    place = file_place(row.source)
    if isinstance(place, WebFile):
        part = folder / _PARTIAL / row.file
        download(place.url, part, size=row.size, limits=limits, progress=progress)
        return part, None
    assert isinstance(place, HubFile)
    facts = hub_facts(place)
    if row.size is not None and facts.size != row.size:
        raise DownloadError(f"{place.repo}, {facts.file}: is of {facts.size:,} bytes, expected {row.size:,}")
    if Path(facts.file).suffix != Path(row.file).suffix:
        raise DownloadError(f"{place.repo}: has {facts.file}, which cannot be kept as {row.file}")
    into = _hub_folder(folder, row)
    return fetch_hub_file(place, facts, into, most_bytes=limits.most_bytes, progress=progress), facts


def _checked(row: WeightFile, made: Path, pin: Pin, before: Pin | None) -> tuple[str, ...]:
    """What a reader must know of a fetched file that passed every check; one that did not is removed."""
    try:
        if row.size is not None and pin.size != row.size:
            raise IntegrityError(f"{row.name}: {pin.size:,} bytes came, expected {row.size:,}; fetch it again")
        if row.sha256 is not None and pin.sha256 != row.sha256:
            raise IntegrityError(
                f"{row.name}: sha256 {pin.sha256[:12]}… came, the published file has {row.sha256[:12]}…"
            )
        if not pin.sha256.startswith(row.sha256_starts or ""):
            raise IntegrityError(
                f"{row.name}: sha256 {pin.sha256[:12]}… came, the published file's begins with {row.sha256_starts}"
            )
        if before is not None and before.sha256 != pin.sha256:
            raise IntegrityError(
                f"{row.name}: another file than was pinned on {before.pinned_utc[:10]} (sha256 {pin.sha256[:12]}…,"
                f" pinned {before.sha256[:12]}…); --repin takes it"
            )
        notes = check_content(made)
    except DFADError:
        forget_part(made)
        raise
    if row.sha256 is None:
        notes = (*notes, f"its hash is not published; {pin.sha256} was pinned in {PINS}")
    return notes


def _present(row: WeightFile, place: Path, repin: bool) -> FetchedFile:
    """A file that is there under its name already, compared with what is known of it, and pinned if it was not."""
    if place.is_dir():
        raise WeightsError(f"{place}: is a folder, where the file of {row.name} belongs; move it away")
    check_content(place)
    size, sha256 = place.stat().st_size, sha256_file(place)
    known = read_pins(place.parent).get(row.file)
    expected = row.sha256 or (known.sha256 if known and not repin else None)
    if expected is not None and sha256 != expected:
        whose = "the published one" if row.sha256 else "the one that was pinned (--repin takes it)"
        raise IntegrityError(f"{place}: is there and is not {whose}; move it away to fetch {row.name}")
    if known is None or known.sha256 != sha256:
        with _locked_pins(place.parent):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            write_pin(place.parent, row.file, Pin(sha256, size, row.name, pinned_utc=now))
    return FetchedFile(row.name, place, size, sha256, "present")


def _hub_folder(folder: Path, row: WeightFile) -> Path:
    return folder / _PARTIAL / f"hub-{re.sub('[^A-Za-z0-9_.-]', '-', row.name)}"


def _clean(folder: Path, row: WeightFile) -> None:
    """Remove what is left of fetching a file that is there now."""
    forget_part(folder / _PARTIAL / row.file)
    shutil.rmtree(_hub_folder(folder, row), ignore_errors=True)


@contextmanager
def _locked(folder: Path, row: WeightFile, progress: Progress) -> Iterator[None]:
    """Hold a file against other processes that fetch it; waits for them, then finds it there.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _PARTIAL / f"{row.file}.lock")
    try:
        (folder / _PARTIAL).mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.start(f"Waiting for another process that fetches {row.name}", None)
            lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout as error:
        raise ConfigError(f"{folder}: another process fetches {row.name} for hours; end it first") from error
    except (OSError, NotImplementedError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{folder}: cannot be written ({why}); set DFAD_WEIGHTS to another folder") from error
    finally:
        progress.finish()
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # others may hold it already
            (folder / _PARTIAL).rmdir()


@contextmanager
def _locked_pins(folder: Path) -> Iterator[None]:
    from filelock import FileLock

    with FileLock(folder / f".{PINS}.lock", timeout=60):
        yield
