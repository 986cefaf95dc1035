"""The lists of ForgeryNet: checked against the folders, which are right, and read for the forged frames of videos.

`image_list.txt` has lines `path binary triple class`, `video_list.txt` lines `k path (start length forged) x k binary
triple class`. The numbers of classes are known to disagree with the folders, and which binary value is forged is
disputed: the folder decides, and disagreements are counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.files import plain_path
from dfad_bench.core.taxonomy import REAL_KEY, UNLABELLED_KEY
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.official import find_file, read_text
from dfad_bench.ingest.sources.spec import DatasetSpec

_LISTS = ("image_list.txt", "video_list.txt")
_PARTS = ("Training", "Validation")
_WHOLE = ("fsgan", "atvg_net")  # of whose videos every frame is forged: they have no segments
_MOST = 10_000  # segments of a video


class _Line(NamedTuple):
    path: str
    segments: tuple[tuple[int, int, bool], ...]  # first frame, frames, forged
    binary: str
    kind: str


def forgerynet(listing: Listing, root: Path, spec: DatasetSpec) -> None:
    """Add the forged segments of videos; frames in no listed segment are `unlabelled`, since they may be forged, too.

    So are all frames of a forged video that no list describes.

    Raises:
        ConfigError: a damaged list.
    """
    lines: dict[str, _Line] = {}
    for part in _PARTS:
        for name in _LISTS:
            file = find_file(root, f"{part}/{name}", spec.follow_links)
            if file is not None:
                lines |= {_tail(line.path): line for line in _lines(file, name == "video_list.txt")}
            elif any(s.origin.startswith(f"{part}/") and _is_of(s, name) for s in listing.samples):
                listing.notes.append(f"no {part}/{name}: labels come from folders only")
    wrong: Counter[str] = Counter()
    for index, sample in enumerate(listing.samples):
        line = lines.get(_tail(sample.origin))
        if line is not None:
            folder = next((word for word in sample.origin.split("/") if word.isdigit()), "")
            wrong["binary label"] += (line.binary == "0") != (sample.generator == REAL_KEY)
            wrong["class"] += line.kind != folder and sample.generator != REAL_KEY
        if sample.medium == "video" and sample.generator != REAL_KEY:
            listing.samples[index] = _with_segments(sample, line)
    listing.notes += [
        f"the {name} of {number:,} files disagrees with their folder; the folder counts"
        for name, number in sorted(wrong.items())
        if number
    ]
    if unknown := sum(s.outside == UNLABELLED_KEY and not s.spans for s in listing.samples):
        listing.notes.append(
            f"{unknown:,} forged videos have no segments in video_list.txt: all of their frames are unlabelled"
        )


def _with_segments(sample: RawSample, line: _Line | None) -> RawSample:
    if sample.generator in _WHOLE:
        return sample
    segments = line.segments if line is not None else ()
    spans = tuple((start, start + size, sample.generator if forged else REAL_KEY) for start, size, forged in segments)
    return replace(sample, spans=spans, outside=UNLABELLED_KEY)


def _is_of(sample: RawSample, name: str) -> bool:
    return (sample.medium == "video") == (name == "video_list.txt")


def _tail(path: str) -> str:
    """The folder number and what is behind it, which lists and folders have in common.

    >>> _tail("Training/image/train_release/7/a/b/frame1.jpg") == _tail("train_release/7/a/b/frame1.jpg")
    True
    """
    parts = plain_path(path).casefold().split("/")
    return "/".join(parts[-4:])


def _lines(file: Path, videos: bool) -> list[_Line]:
    found = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            found.append(_video_line(words) if videos else _Line(words[0], (), words[1], words[3]))
        except (ValueError, IndexError):
            raise ConfigError(f"{file}: line {number}: {quoted(line[:80])} is no line of this list") from None
    return found


def _video_line(words: list[str]) -> _Line:
    count = int(words[0])
    if not 0 <= count <= _MOST or len(words) != 2 + 3 * count + 3:
        raise ValueError("another number of words")
    numbers = [int(word) for word in words[2 : 2 + 3 * count]]
    segments = tuple(
        (numbers[at], numbers[at + 1], numbers[at + 2] == 1) for at in range(0, 3 * count, 3) if numbers[at] >= 0
    )
    return _Line(words[1], segments, words[-3], words[-1])
