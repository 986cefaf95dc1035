"""A file of a server, in parts: goes on where it was cut, and is bounded in size, time and redirects.

Nothing the server says is believed: the size is counted, the hash is the caller's, the address must stay one of its
host. A part that was fetched before counts only if the server says by its validator (strong ETag or Last-Modified,
asked for by If-Range) that the file is the same still (RFC 9110).
"""

from __future__ import annotations

import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from dfad_bench.core.errors import ConfigError, DFADError, WeightsError, cut, quoted
from dfad_bench.core.files import open_part, read_json, write_json
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.strict import from_mapping
from dfad_bench.core.version import __version__
from dfad_bench.sharing.places import check_address, is_here

_CHUNK = 1 << 20
_SPARE_BYTES = 64 << 20  # left free on the disk
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses that may be others soon
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True)
class Limits:
    """What a download may take.

    `attempts` in a row may bring next to nothing (fewer bytes than come in `wait_s` at `least_rate`): a server that
    gives a few bytes each time would otherwise be asked for ever.
    """

    most_bytes: int = 32 << 30
    wait_s: float = 30.0  # for a connection, and for the next bytes
    slow_s: float = 60.0  # over which fewer than `least_rate` bytes a second are too few
    least_rate: int = 1024
    attempts: int = 4
    pause_s: float = 1.0  # before the second attempt; doubled each time


@dataclass(frozen=True)
class PartState:
    """What is known of an unfinished file: beside it as JSON."""

    url: str
    validator: str | None = None
    total: int | None = None


class DownloadError(WeightsError):
    """A file could not be fetched. `passing`: another try may work; `useless`: so is what was fetched of it."""

    def __init__(self, message: str, *, passing: bool = False, useless: bool = False) -> None:
        super().__init__(message)
        self.passing, self.useless = passing, useless


def download(
    url: str, part: Path, *, size: int | None = None, limits: Limits = Limits(),  # noqa: B008  frozen
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> int:  # fmt: skip
    """Fetch a file into `part`, going on with what is there; returns its size in bytes.

    Args:
        url: https, or http on this machine.
        part: the unfinished file; it stays where the download ends with an error that may pass.
        size: of the whole file, where it is known.
        limits: of size, time and attempts.
        progress: counts bytes.

    Raises:
        DownloadError: not reachable, refused, stalled, too large, of another size, a bad redirect, or a full disk.
    """
    bar = _Bytes(progress, urlsplit(url).hostname or "")
    fruitless = 0
    try:
        while True:
            before = _size_of(part)
            try:
                return _attempt(url, part, size, limits, bar)
            except DownloadError as error:
                got = _size_of(part) - before
                fruitless = 0 if got > limits.least_rate * limits.wait_s else fruitless + 1
                if error.useless:
                    forget_part(part)
                if not error.passing or fruitless >= limits.attempts:
                    raise
                time.sleep(limits.pause_s * 2 ** max(0, fruitless - 1))
    finally:
        progress.finish()


def forget_part(part: Path) -> None:
    """Remove an unfinished file and what is known of it."""
    for path in (part, _state_path(part)):
        path.unlink(missing_ok=True)


def _attempt(url: str, part: Path, size: int | None, limits: Limits, bar: _Bytes) -> int:
    """One request, and what it brings."""
    have, state = _usable_part(url, part)
    if size is not None and have > size:
        have = 0
    headers = {"User-Agent": f"dfad-bench/{__version__}", "Accept-Encoding": "identity"}
    if have and state.validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": state.validator}
    with _opened(url, headers, limits) as answer:
        if answer.status == 416:  # the file is not what the part is of
            raise DownloadError(f"{url}: is shorter than what was fetched of it before", passing=True, useless=True)
        _check_answer(url, answer)
        have, total = _begin(url, part, answer, have, state)
        if total is not None and size is not None and total != size:
            raise DownloadError(f"{url}: is of {total:,} bytes, expected {size:,}; it is another file", useless=True)
        most = min(limits.most_bytes, size if size is not None else limits.most_bytes)
        if total is not None and total > most:
            raise DownloadError(f"{url}: {total:,} bytes, more than the {most:,} allowed")
        _check_room(part, (total or size or 0) - have)
        bar.begin(total or size, have)
        got = _receive(url, part, answer, have, most, limits, bar)
    if total is not None and got != total:
        raise DownloadError(f"{url}: was cut off after {got:,} of {total:,} bytes", passing=True)
    if size is not None and got != size:
        raise DownloadError(f"{url}: was cut off after {got:,} of {size:,} bytes", passing=True)
    return got


def _usable_part(url: str, part: Path) -> tuple[int, PartState]:
    """How much is there of the very file, and what is known of it; a part without a validator is begun anew."""
    state = PartState(url)
    if part.is_file() and not part.is_symlink():
        with suppress(ConfigError):
            state = from_mapping(PartState, read_json(_state_path(part)), str(part))
            if state.url == url and state.validator is not None:
                return _size_of(part), state
    forget_part(part)
    return 0, PartState(url)


def _begin(url: str, part: Path, answer: Any, have: int, state: PartState) -> tuple[int, int | None]:
    """From which byte the answer goes on, and the size of the whole file where the server says it."""
    length = answer.headers.get("Content-Length")
    length = int(length) if length is not None and re.fullmatch(r"\d{1,18}", length) else None
    validator = _validator(answer.headers)
    if answer.status == 206:
        told = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        other = validator is not None and validator != state.validator
        if not told or int(told[1]) != have or other or (state.total not in (None, int(told[3]))):
            raise DownloadError(f"{url}: was changed since a part of it was fetched", passing=True, useless=True)
        return have, int(told[3])
    write_json(_state_path(part), asdict(PartState(url, validator, length)))
    return 0, length


def _receive(url: str, part: Path, answer: Any, have: int, most: int, limits: Limits, bar: _Bytes) -> int:
    """Write what comes; returns the size of the part then."""
    since, counted = time.monotonic(), 0
    with open_part(part, have) as file:
        while chunk := _next_chunk(url, answer):
            have += len(chunk)
            if have > most:
                raise DownloadError(f"{url}: goes on after {most:,} bytes, the most that is allowed", useless=True)
            _written(file, chunk, part)
            bar.advance(len(chunk))
            counted += len(chunk)
            if (passed := time.monotonic() - since) >= limits.slow_s:
                if counted < limits.least_rate * passed:
                    raise DownloadError(f"{url}: {counted:,} bytes in {passed:.0f} s; too slow, try again later")
                since, counted = time.monotonic(), 0
    return have


def _next_chunk(url: str, answer: Any) -> bytes:
    try:
        return bytes(answer.read1(_CHUNK))
    except TimeoutError as error:
        raise DownloadError(f"{url}: no more bytes came in time", passing=True) from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: the connection broke ({_reason(error)})", passing=True) from error


def _written(file: Any, chunk: bytes, part: Path) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise DownloadError(f"{part}: cannot be written ({error.strerror}); free some space, then go on") from error


def _check_answer(url: str, answer: Any) -> None:
    if answer.status in (401, 403):
        raise DownloadError(f"{url}: the server asks for a log-in or refuses ({answer.status})")
    if answer.status not in (200, 206):
        words = {404: "there is no such file (404)", 410: "the file was taken away (410)"}
        text = words.get(answer.status, f"the server answers {answer.status}")
        raise DownloadError(f"{url}: {text}", passing=answer.status in _PASSING)
    if (coding := answer.headers.get("Content-Encoding", "identity")).lower() != "identity":
        raise DownloadError(f"{url}: comes packed ({quoted(coding)}), which was not asked for")


@contextmanager
def _opened(url: str, headers: dict[str, str], limits: Limits) -> Iterator[Any]:
    """The answer to a request, redirects followed by the rules of `check_address`."""
    at = url
    try:
        check_address(at)
        for _ in range(_MOST_REDIRECTS + 1):
            answer = _ask(at, headers, limits)
            if answer.status not in _REDIRECTS:
                with answer:
                    yield answer
                return
            answer.close()
            before, at = at, urljoin(at, answer.headers.get("Location") or "")
            check_address(at, before)
    except DFADError as error:
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(str(error)) from error
    raise DownloadError(f"{url}: leads on more than {_MOST_REDIRECTS} times")


def _ask(url: str, headers: dict[str, str], limits: Limits) -> Any:
    opener = urllib.request.OpenerDirector()  # answers of any status, and no other kinds of addresses
    kinds: list[Callable[[], Any]] = [urllib.request.HTTPHandler, urllib.request.HTTPSHandler]
    for kind in kinds if is_here(url) else [urllib.request.ProxyHandler, *kinds]:
        opener.add_handler(kind())
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=limits.wait_s)
    except urllib.error.URLError as error:
        reason = error.reason if isinstance(error.reason, BaseException) else error
        passing = isinstance(reason, TimeoutError | ConnectionError) and not isinstance(reason, ConnectionRefusedError)
        raise DownloadError(f"{_host(url)} cannot be reached ({_reason(reason)})", passing=passing) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"{_host(url)} gives no answer ({_reason(error)})", passing=True) from error


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed + _SPARE_BYTES > free:
        raise DownloadError(f"{part.parent}: {needed:,} bytes are to come, {free:,} are free; make room, then go on")


def _validator(headers: Any) -> str | None:
    """What tells this state of the file from others: a strong ETag, else the time of its last change."""
    etag = headers.get("ETag")
    if etag and re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag):
        return str(etag)
    changed = headers.get("Last-Modified")
    return str(changed) if changed and re.fullmatch(r"[A-Za-z0-9 ,:+-]{10,60}", changed) else None


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return cut(str(getattr(error, "strerror", None) or error or type(error).__name__), 120)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _state_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


class _Bytes:
    """A bar that counts bytes over several attempts."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def begin(self, total: int | None, have: int) -> None:
        """Begin at what is there."""
        self._progress.start(f"Fetching from {self._label}, bytes", total)
        self._progress.advance(have)

    def advance(self, count: int) -> None:
        """Count bytes that came."""
        self._progress.advance(count)
