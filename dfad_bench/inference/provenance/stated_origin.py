"""What a file states about its origin, beside what a network says of its pixels; silence is "none", never "real"."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from dfad_bench.core.escape import one_line
from dfad_bench.data.images import ImageRefused, open_regular
from dfad_bench.inference.provenance.credentials import Credentials, credentials
from dfad_bench.inference.provenance.xmp import GENERATED, DamagedPacketError, source_types
from dfad_bench.ingest.media.archive import read_member
from dfad_bench.ingest.sample import RawSample

NONE, UNREAD = "none", "unreadable"
_MOST_NAMED = 5


@dataclass(frozen=True)
class StatedOrigin:
    """Of one file: its digital source types in XMP, and its content credentials."""

    source_types: tuple[str, ...]
    credentials: Credentials
    problem: str = ""  # why its XMP could not be read

    @property
    def source_type(self) -> str:
        """What XMP states, in one cell: "none" where nothing is."""
        if self.problem:
            return f"{UNREAD}: {self.problem}"
        return ", ".join(one_line(kind) for kind in self.source_types[:_MOST_NAMED]) or NONE

    @property
    def states_generated(self) -> bool:
        """Whether it says itself that a trained model made it or a part of it."""
        return any(kind.lower() in GENERATED for kind in (*self.source_types, *self.credentials.source_types))


def stated_origin(sample: RawSample) -> StatedOrigin | None:
    """What the file of a sample states; None where the file cannot be opened, which its own row says."""
    if sample.refusal:
        return None
    try:
        with closing(_opened_file(sample)) as data:
            return _origin(data, sample.member or sample.origin)
    except (ImageRefused, OSError):
        return None


def _origin(data: BinaryIO, name: str) -> StatedOrigin:
    problem, types = "", []
    try:
        types = source_types(data)
    except DamagedPacketError as error:
        problem = one_line(str(error))
    data.seek(0)
    return StatedOrigin(tuple(types), credentials(data, name), problem)


def _opened_file(sample: RawSample) -> BinaryIO:
    if sample.member is not None:
        return io.BytesIO(read_member(sample.path, sample.member, sample.position))
    return open_regular(sample.path)
