"""Runs in repositories of the Hugging Face hub: fetched into a cache of their own, checked, and given away.

A repository is untrusted: only files by the names of a run are asked for, within bounds, as plain files; what came is
compared with what the hub says of it and with the run's own hashes; nothing in it can run code.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError
from dfad_bench.core.files import check_hash, read_json, write_json
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.record import read_record
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.sharing.download import DownloadError
from dfad_bench.sharing.hub_files import HubFacts, endpoint, fetch_hub_file, hub_errors
from dfad_bench.sharing.places import HubFile, HubRun
from dfad_bench.sharing.run_files import EVERY, SHARED, check_shared, check_sizes, most_bytes

SOURCE = "hub.json"  # beside a fetched run: where it is from
_REVISIONS = "revisions.json"
_COMMIT = re.compile("[0-9a-f]{40}")
_SPARE_BYTES = 64 << 20
_MAIN = "main"


@dataclass(frozen=True)
class LocalRun:
    """A run that was fetched: its folder, the commit it is of, and what a reader must know."""

    folder: Path
    revision: str
    notes: tuple[str, ...] = ()


def cache_folder() -> Path:
    """Where fetched runs lie: `runs` of `$DFAD_CACHE`, else of the user's cache."""
    own = os.environ.get("DFAD_CACHE")
    if own:
        return Path(own) / "runs"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dfad_bench" / "runs"


def fetch_run(place: HubRun, progress: Progress = NoProgress()) -> LocalRun:  # noqa: B008  stateless
    """The run of a repository as a folder of this machine, fetched if it is not there.

    A name such as `main` is asked for each time, and the commit it stands for is kept; without a network the last one
    is used. A full commit that is there is never asked for.

    Raises:
        DownloadError: not there, and not to be fetched; says what to do.
        ConfigError: the repository holds no run, or more than is allowed.
        IntegrityError: what came is not what it should be.
    """
    home = cache_folder() / place.repo.replace("/", "--")
    asked = place.revision or _MAIN
    if _COMMIT.fullmatch(asked) and (home / asked / SOURCE).is_file():
        return LocalRun(home / asked, asked)
    with _locked(home):
        try:
            commit, sizes, etags = _hub_listing(place)
        except DownloadError as error:
            known = _known_commit(home, asked) if error.passing or "HF_HUB_OFFLINE" in str(error) else None
            if known is None:
                raise DownloadError(
                    f"{error}; {place} was not fetched here before: fetch the repository elsewhere (`hf download"
                    f" {place.repo} --local-dir DIR`) and give --run DIR"
                ) from error
            note = f"{place}: the hub was not asked; commit {known[:12]}, as it was fetched before, is used"
            return LocalRun(home / known, known, (note,))
        if not (home / commit / SOURCE).is_file():
            _fetch(place, commit, sizes, etags, home, progress)
        known_commits = {**_revisions(home), asked: commit}
        write_json(home / _REVISIONS, known_commits)
    return LocalRun(home / commit, commit, (f"{place} is commit {commit} ({home / commit})",))


def push_run(folder: Path, repo: str, *, public: bool, progress: Progress = NoProgress()) -> str:  # noqa: B008
    """Put a shared run into a repository of the hub, made if need be; returns the commit's address.

    Raises:
        ConfigError: not a shared run.
        DownloadError: no log-in, or the hub refuses.
    """
    from huggingface_hub import HfApi

    shared = check_shared(folder)
    progress.start(f"Uploading {len(shared.files) + 1} files to {repo}", None)
    try:
        with hub_errors(repo):
            api = HfApi(endpoint=endpoint())
            api.create_repo(repo, private=not public, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo, folder_path=folder, allow_patterns=[*shared.files, SHARED],
                commit_message=f"{shared.model}, record {shared.record_id[:12]}",
            )  # fmt: skip
    finally:
        progress.finish()
    return str(getattr(done, "commit_url", done))


def _hub_listing(place: HubRun) -> tuple[str, dict[str, int | None], dict[str, str | None]]:
    """The commit, and size and hash of each file of a run that the repository has; other files are left out."""
    from huggingface_hub import HfApi

    with hub_errors(str(place)):
        info = HfApi(endpoint=endpoint()).model_info(place.repo, revision=place.revision, files_metadata=True)
    commit = str(info.sha or "")
    if not _COMMIT.fullmatch(commit):
        raise DownloadError(f"{place}: the hub tells no commit")
    sizes: dict[str, int | None] = {}
    etags: dict[str, str | None] = {}
    for each in info.siblings or ():
        if each.rfilename in EVERY:
            sizes[each.rfilename] = each.size
            large = each.lfs
            etags[each.rfilename] = str(large["sha256"]) if large else each.blob_id
    return commit, sizes, etags


def _fetch(
    place: HubRun, commit: str, sizes: dict[str, int | None], etags: dict[str, str | None], home: Path,
    progress: Progress,
) -> None:  # fmt: skip
    """Fetch the files of a commit into their folder, whole and checked."""
    try:
        check_sizes(sizes)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
    total = sum(size or 0 for size in sizes.values())
    if total + _SPARE_BYTES > (free := shutil.disk_usage(home).free):
        raise DownloadError(f"{home}: {total:,} bytes are to come, {free:,} are free; make room, or set DFAD_CACHE")
    part = home / f".{commit}.part"  # of all attempts: huggingface_hub goes on there
    made = home / f".{commit}.{secrets.token_hex(4)}.new"
    try:
        for name, size in sorted(sizes.items()):  # one by one, each bounded by its size: a body may never end
            facts, file = HubFacts(name, commit, size or 0, etags[name]), HubFile(place.repo, (name,), commit)
            fetch_hub_file(file, facts, part, most_bytes=most_bytes(name), progress=progress)
    except DFADError as error:
        if not isinstance(error, DownloadError) or error.useless:
            shutil.rmtree(part, ignore_errors=True)
        raise
    try:
        for name in sizes:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).replace(made / name)
        try:
            check_fetched(made)
        except DFADError as error:
            raise type(error)(str(error).replace(str(made), str(place))) from error
        source = {"repo": place.repo, "revision": commit, "asked": place.revision or _MAIN}
        write_json(made / SOURCE, {**source, "fetched_utc": datetime.now(UTC).isoformat(timespec="seconds")})
        made.replace(home / commit)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)


def check_fetched(folder: Path) -> None:
    """Compare the files of a run from outside with its own hashes, before anything opens it.

    Raises:
        ConfigError: damaged facts, record or list.
        IntegrityError: a file that is not the one the run states.
    """
    files = RunFolder(folder)
    if (folder / SHARED).is_file():
        check_shared(folder)
    facts, record = read_facts(files.facts), read_record(files.record)
    weights = facts["model"]["checkpoint_sha256"]
    if not weights or weights != record.model.checkpoint_sha256:
        raise IntegrityError(f"{files.record}: is of other weights than {files.facts.name}")
    check_hash(files.checkpoint.weights, str(weights))
    for name, sha256 in facts["run"].get("files", {}).items():
        if name in EVERY and (folder / name).is_file():
            check_hash(folder / name, str(sha256))


def _known_commit(home: Path, asked: str) -> str | None:
    known = _revisions(home).get(asked)
    return known if known is not None and (home / known / SOURCE).is_file() else None


def _revisions(home: Path) -> dict[str, str]:
    path = home / _REVISIONS
    if not path.is_file():
        return {}
    found: Any = read_json(path)
    whole = isinstance(found, dict) and all(isinstance(v, str) and _COMMIT.fullmatch(v) for v in found.values())
    return found if whole else {}


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    from filelock import FileLock

    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / ".lock", timeout=6 * 3600)
        lock.acquire()
    except OSError as error:
        raise ConfigError(f"{home}: cannot be written ({error.strerror}); set DFAD_CACHE to another folder") from error
    try:
        yield
    finally:
        lock.release()
