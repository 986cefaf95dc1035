"""What a user names (pictures, folders, patterns, videos, archives, a list of names) as samples that readers know.

Folders and archives are listed by the same code as the source folder of a manifest. A name that leads to nothing is a
sample with a refusal, so that one wrong name among many costs one line.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dfad_bench.core.taxonomy import UNLABELLED_KEY
from dfad_bench.data.images import EXTENSIONS, VIDEO_EXTENSIONS
from dfad_bench.ingest.media.archive import is_archive
from dfad_bench.ingest.sample import OUTSIDE, FoundFile, RawSample
from dfad_bench.ingest.sources.archives import archive_members
from dfad_bench.ingest.sources.base import DAMAGED, PACKED_VIDEO, Listing, printable_name, walk_files

STDIN = "-"
_DATASET = "named inputs"  # of the samples; none is ever written
_ALWAYS_ANIMATED = ("gif", "apng")  # a still one is a video of one frame
_LONGEST_NAME = 65_536  # bytes of a name on stdin
_WEBP_ANIMATION = 0x02  # bit of the flags of an extended WebP file


@dataclass
class NamedInputs:
    """Samples of the names a user gave, one by one, and what was left out of folders and archives on the way.

    Args:
        names: paths and patterns; `-` stands for the names on `stdin`.
        stdin: names, one a line, or with a NUL behind each.
    """

    names: Iterable[str | Path]
    stdin: BinaryIO | None = None
    listing: Listing = field(default_factory=Listing)

    def __iter__(self) -> Iterator[RawSample]:
        for name in self.names:
            if str(name) == STDIN and self.stdin is not None:
                for line in read_names(self.stdin):
                    yield from self._samples_of(line)
            else:
                yield from self._samples_matching(os.fspath(name))

    def _samples_matching(self, name: str) -> Iterator[RawSample]:
        """Of a name that is no file but a pattern, what fits it."""
        if os.path.lexists(name) or not glob.has_magic(name):
            yield from self._samples_of(name)
            return
        found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  of any pattern, also an absolute one
        if not found:
            yield _sample(FoundFile(printable_name(name), Path(name), 0), refusal="no file fits this pattern")
        for match in found:
            yield from self._samples_of(match)

    def _samples_of(self, name: str) -> Iterator[RawSample]:
        path, shown = Path(name), printable_name(name)
        if "\0" in name:  # each Python has words of its own for it
            yield _sample(FoundFile(shown, path, 0), refusal="a NUL byte in its name")
            return
        try:
            if path.is_dir():
                yield from self._in_folder(path, shown)
                return
            real = path.resolve(strict=True)  # a link that is named is meant
            size = real.stat().st_size
        except (OSError, RuntimeError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            yield _sample(FoundFile(shown, path, 0), refusal=why or type(error).__name__)
            return
        file = FoundFile(shown, real, size)
        if is_archive(name):
            yield from self._in_archive(file, named=True)
        else:
            yield _sample(file)

    def _in_folder(self, folder: Path, shown: str) -> Iterator[RawSample]:
        for file in walk_files(folder, self.listing):
            below = replace(file, origin=f"{shown.rstrip('/')}/{file.origin}")
            if is_archive(below.origin) and not below.outside:
                yield from self._in_archive(below, named=False)
            else:
                yield from self._listed_sample(below)

    def _in_archive(self, file: FoundFile, *, named: bool) -> Iterator[RawSample]:
        """Pictures of an archive; without any, a refusal where it was named by the user or is damaged."""
        found = False
        ignored = dict(self.listing.ignored)
        for member in archive_members(file, self.listing):
            for sample in self._listed_sample(member):
                found = True
                yield sample
        if not found:
            new = [why for why, count in self.listing.ignored.items() if count > ignored.get(why, 0)]
            if not named and DAMAGED not in new:
                return
            yield _sample(file, refusal=f"no picture in this archive ({'; '.join(new) or 'it is empty'})")

    def _listed_sample(self, file: FoundFile) -> Iterator[RawSample]:
        """A listed file where its extension is one that is read; else it is counted."""
        ending = _ending(file.origin)
        if file.member is not None and ending in VIDEO_EXTENSIONS:
            self.listing.ignore(PACKED_VIDEO, file.origin)
        elif ending in (*EXTENSIONS, *VIDEO_EXTENSIONS, *_ALWAYS_ANIMATED):
            yield _sample(file)
        else:
            self.listing.ignore("no picture or video by its name", file.origin)


def read_names(stream: BinaryIO) -> Iterator[str]:
    """Names from a stream as they come, one a line, or with a NUL behind each as `find -print0` writes them."""
    while line := stream.readline(_LONGEST_NAME):
        for name in line.rstrip(b"\r\n").split(b"\0"):
            if name:
                yield os.fsdecode(name)


def _sample(file: FoundFile, refusal: str = "") -> RawSample:
    closed = "outside_root" if file.outside else "unreadable" if file.damaged or refusal else None
    return RawSample(
        dataset=_DATASET,
        generator=UNLABELLED_KEY,
        split=None,
        origin=file.origin,
        path=file.path,
        size=file.size,
        medium="archive" if file.member is not None else _medium(file),
        member=file.member,
        position=file.position,
        refusal=closed,
        refusal_reason=refusal or file.damaged or OUTSIDE,
    )


def _medium(file: FoundFile) -> str:
    ending = _ending(file.origin)
    if ending in VIDEO_EXTENSIONS:
        return "video"
    moves = ending in _ALWAYS_ANIMATED or (ending == "webp" and not file.outside and _is_animated_webp(file.path))
    return "animation" if moves else "image"


def _is_animated_webp(path: Path) -> bool:
    """Whether a WebP file says in its header that it has frames."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as handle:
            head = handle.read(21)
    except OSError:  # reading it gives the reason
        return False
    return len(head) == 21 and head[8:16] == b"WEBPVP8X" and bool(head[20] & _WEBP_ANIMATION)


def _ending(name: str) -> str:
    return name.lower().rpartition(".")[2]
