"""Writing files completely or not at all, and hashing them.

Every file of this toolkit is written through `atomic_write` or `atomic_path`: a killed process leaves either the old
file or the new one under the final name, never a part of one.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import platform
import re
import secrets
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from dfad_bench.core import escape
from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError, quoted
from dfad_bench.core.plain import parse_json

_CHUNK = 1 << 20
# names that `atomic_path` gives; with the host, because hosts may share a folder and process ids are per host
_TEMPORARY = re.compile(r"\.(?P<host>[0-9a-f]{6})-(?P<pid>[1-9][0-9]{0,9})\.[0-9a-f]{8}\.tmp(\.[^.]*)?$")
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_STALE_SECONDS = 2 * 24 * 3600  # age at which a temporary file of another host counts as abandoned
PACKED_BYTES, UNPACKED_BYTES = 4 << 20, 64 << 20  # of a packed JSON file, and of the text in it
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and move it into place.

    For libraries that want a path (Parquet, safetensors). The temporary name ends with the same suffix.

    Raises:
        DFADError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{_HOST}-{os.getpid()}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            why = "the disk is full" if error.errno == errno.ENOSPC else f"no room ({os.strerror(error.errno)})"
            raise DFADError(f"{path}: {why}; free some space and run the same command again") from error
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def move_into_place(made: Path, path: Path) -> None:
    """Flush a finished file to disk and move it to its final name, in the same file system."""
    with made.open("rb+") as handle:
        os.fsync(handle.fileno())
    made.replace(path)
    _sync_folder(path.parent)


@contextmanager
def open_part(path: Path, keep: int = 0) -> Iterator[IO[bytes]]:
    """Open the unfinished copy of a file to write from byte `keep` on; what lies behind is cut off.

    It grows under a name of its own and stays when the block ends with an error, so that a download goes on there.
    `move_into_place` gives it the final name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o644), "wb") as handle:
        handle.truncate(keep)
        handle.seek(keep)
        yield handle


def reserve(temporary: Path) -> None:
    """Allocate the disk space of a sparse file: writing to a mapped file on a full disk kills the process.

    Raises:
        OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        with temporary.open("rb+") as handle:
            os.posix_fallocate(handle.fileno(), 0, temporary.stat().st_size)


@contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file for writing that becomes `path` when the block ends without an error."""
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with atomic_path(Path(path)) as temporary, temporary.open(mode, **text) as handle:
        yield handle


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all."""
    with atomic_write(path, "w") as handle:
        handle.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write JSON sorted, indented and newline-terminated, so that a re-run gives no diff."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """The text that `write_json` writes: nothing in it that a terminal obeys."""
    return escape.json_text(value, sort_keys=True) + "\n"


def is_json_text(text: str, value: Any) -> bool:
    """Whether a text is what `write_json` writes of a value, now or in versions that escaped less."""
    return text == json_text(value) or text == f"{json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)}\n"


def read_json(path: Path, *, constants: bool = False) -> Any:
    """Read a JSON file; `constants` allows NaN and Infinity, which other programs write.

    Raises:
        ConfigError: the file is missing, cannot be read, or is not strict JSON (see `core.plain.parse_json`).
    """
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"), constants=constants)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except OSError as error:  # a folder, or a file that may not be read
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON ({error})") from error


def write_packed_json(path: Path, value: Any) -> None:
    """Write JSON packed by gzip, for what machines read more than people do; no time and no name stands in it."""
    with atomic_write(path) as handle:
        handle.write(gzip.compress(json_text(value).encode(), 9, mtime=0))


def read_packed_json(path: Path) -> Any:
    """Read JSON packed by gzip, of bounded size.

    Raises:
        ConfigError: missing, a link, too large packed or unpacked, or not packed JSON.
    """
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError(f"{path}: not a file but a link, folder or device")
        if about.st_size > PACKED_BYTES:
            raise ConfigError(f"{path}: {about.st_size:,} bytes; packed JSON has at most {PACKED_BYTES:,}")
        with gzip.open(path) as handle:
            text = handle.read(UNPACKED_BYTES + 1)
        if len(text) > UNPACKED_BYTES:
            raise ConfigError(f"{path}: unpacks to more than {UNPACKED_BYTES:,} bytes")
        return parse_json(text.decode("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error) as error:  # gzip's own error is an OSError
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON ({error})") from error


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def content_hash(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value` (sorted keys, no spaces, UTF-8).

    >>> content_hash({"b": 1, "a": 2}) == content_hash({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_hash(path: Path, expected: str) -> None:
    """Raise if the SHA-256 of a file is not `expected`.

    Raises:
        IntegrityError: with both hashes.
    """
    found = sha256_file(path)
    if found != expected:
        raise IntegrityError(f"{path}: damaged or changed (sha256 {found[:12]}…, expected {expected[:12]}…)")


def sweep_temporaries(folder: Path) -> int:
    """Delete temporary files that killed processes left in `folder`; returns how many.

    Files of this host are deleted if their process has ended, those of other hosts after two days.
    """
    removed = 0
    for leftover in Path(folder).glob(".*.tmp*"):
        named = _TEMPORARY.search(leftover.name)
        with suppress(FileNotFoundError):
            if named and _is_abandoned(leftover, named["host"], int(named["pid"])):
                leftover.unlink()
                removed += 1
    return removed


def safe_relative(root: Path, relative: str, *, follow: bool = False) -> Path:
    """`root / relative`, after checking that it stays below `root` (links included, unless `follow`).

    Raises:
        ConfigError: absolute, with `..`, a NUL or a backslash, or a link out of `root`.
    """
    if not is_plain_relative(relative):
        raise ConfigError(f"{quoted(relative)}: not a plain relative path")
    path = (root / relative).resolve()
    if not follow and not path.is_relative_to(root.resolve()):
        raise ConfigError(f"{quoted(relative)}: leads out of {root}")
    return path


def is_plain_relative(path: str) -> bool:
    """Whether a path by its text alone is a relative one without `..`, NUL and backslash.

    >>> is_plain_relative("a/b.png"), is_plain_relative("/a.png"), is_plain_relative("a/../b.png")
    (True, False, False)
    """
    return bool(path) and not path.startswith("/") and not {"\\", "\0"} & set(path) and ".." not in path.split("/")


def plain_path(text: str) -> str:
    r"""A path of a list in one spelling: `/` between folders, without empty parts, `.`, and a leading `./`.

    A leading `/` and `..` stay, for `safe_relative` to refuse.

    >>> plain_path("./a//b/./0.png"), plain_path(r"a\\0.png"), plain_path("/a/../0.png")
    ('a/b/0.png', 'a/0.png', '/a/../0.png')
    """
    path = text.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def _is_abandoned(temporary: Path, host: str, pid: int) -> bool:
    if host == _HOST:
        return not _is_alive(pid)
    return time.time() - temporary.stat().st_mtime > _STALE_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended but was not yet waited for by its parent; always False outside Linux."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return state[:1] in (["Z"], ["X"])


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
