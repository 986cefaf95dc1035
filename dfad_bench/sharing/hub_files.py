"""Files of the Hugging Face hub, by huggingface_hub: its log-in, its mirrors (`HF_ENDPOINT`), its way to go on.

What the hub says of a file (size, hash, commit) is asked for first, and what came is compared with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import IntegrityError, cut
from dfad_bench.core.files import sha256_file
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.sharing.download import DownloadError
from dfad_bench.sharing.places import HubFile

_SPARE_BYTES = 64 << 20
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFacts:
    """A file as the hub has it. `etag`: its sha256 (large files) or the hash git gives it; None where not told."""

    file: str
    revision: str
    size: int
    etag: str | None


def endpoint() -> str | None:
    """The hub or a mirror of it; None for the hub itself."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """What goes wrong with the hub in the block as one line.

    Raises:
        DownloadError: offline, no such thing, a log-in that is needed, or an answer that makes no sense.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise DownloadError(f"{what}: its terms must be accepted on the hub, then `hf auth login` here") from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise DownloadError(f"{what}: the hub cannot be reached", passing=True) from error
        kinds = {"RepositoryNotFoundError": "repository", "RevisionNotFoundError": "revision"}
        kind = kinds.get(type(error).__name__, "file")
        raise DownloadError(f"{what}: the hub has no such {kind}, or it is private") from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError(f"{what}: HF_HUB_OFFLINE is set, so nothing is fetched") from error
    except (DownloadError, IntegrityError):
        raise
    except Exception as error:  # the library's HTTP client, and so the classes of its errors, differ by version
        first = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(f"{what}: the hub gives no usable answer ({cut(first, 160)})", passing=True) from error


def hub_facts(place: HubFile) -> HubFacts:
    """The first of a place's files that is there.

    Raises:
        DownloadError: none is, or the hub cannot be reached.
    """
    import huggingface_hub

    for file in place.files:
        where = f"{place.repo}, {file}"
        with hub_errors(where):
            url = huggingface_hub.hf_hub_url(place.repo, file, revision=place.revision, endpoint=endpoint())
            try:
                found = huggingface_hub.get_hf_file_metadata(url)
            except huggingface_hub.errors.EntryNotFoundError:
                if file != place.files[-1]:
                    continue
                raise
            if found.size is None or found.size < 0 or not _COMMIT.fullmatch(found.commit_hash or ""):
                raise DownloadError(f"{where}: the hub tells no size or no commit")
            return HubFacts(file, str(found.commit_hash), found.size, found.etag)
    raise DownloadError(f"{place.repo}: no file is named")


def fetch_hub_file(
    place: HubFile, facts: HubFacts, folder: Path, *, most_bytes: int, progress: Progress = NoProgress(),  # noqa: B008
) -> Path:  # fmt: skip
    """Fetch one file into `folder`, going on with what is there, and compare it with what the hub said.

    Raises:
        DownloadError: too large, no room, or not fetched.
        IntegrityError: what came is not what the hub said.
    """
    import huggingface_hub

    where = f"{place.repo}, {facts.file}"
    if facts.size > most_bytes:
        raise DownloadError(f"{where}: {facts.size:,} bytes, more than the {most_bytes:,} allowed")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if facts.size + _SPARE_BYTES > free:
        raise DownloadError(f"{folder}: {facts.size:,} bytes are to come, {free:,} are free; make room, then go on")
    progress.start(f"Fetching {facts.file} of {place.repo}, bytes", facts.size)
    try:
        with hub_errors(where):
            path = Path(
                huggingface_hub.hf_hub_download(
                    place.repo, facts.file, revision=facts.revision, local_dir=folder, endpoint=endpoint(),
                    tqdm_class=bar_class(_bounded(progress, 2 * facts.size + _SPARE_BYTES, where)),
                )
            )  # fmt: skip
    finally:
        progress.finish()
    check_etag(path, facts.size, facts.etag, where)
    return path


def _bounded(progress: Progress, most: int, where: str) -> Callable[[int], None]:
    """Counts bytes, and ends a body that goes on after `most`: a retry may bring some of them twice."""
    got = 0

    def advance(count: int) -> None:
        nonlocal got
        got += count
        if got > most:
            raise DownloadError(f"{where}: goes on after {got:,} bytes, more than the hub says", useless=True)
        progress.advance(count)

    return advance


def check_etag(path: Path, size: int | None, etag: str | None, where: str) -> None:
    """Compare a file with the size and the hash that the hub gives it; it is removed where it differs.

    Raises:
        IntegrityError: it is another file.
    """
    known = etag or ""
    found = ""
    if path.is_symlink() or not path.is_file() or (size is not None and path.stat().st_size != size):
        found = "another size"
    elif re.fullmatch("[0-9a-f]{64}", known) and sha256_file(path) != known:
        found = "another sha256"
    elif _COMMIT.fullmatch(known) and git_hash(path) != known:
        found = "another hash"
    if found:
        path.unlink(missing_ok=True)
        raise IntegrityError(f"{where}: what came has {found} than the hub says; fetch it again")


def git_hash(path: Path) -> str:
    """The hash git names a file's content by (SHA-1 of `blob SIZE` and the bytes), which the hub gives small files."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def bar_class(advance: Callable[[int], Any]) -> Any:
    """A bar for huggingface_hub that draws nothing and hands on what was counted."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]  # generic in its stubs only
        """Counts bytes."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            advance(int(kwargs.get("initial") or 0))

        def update(self, n: float | None = 1) -> bool | None:
            """Count."""
            advance(int(n or 0))
            return None

    return Bar
