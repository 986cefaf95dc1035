"""Archives treated as folders: their members are listed beside the plain files of a source folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.media.archive import SUFFIXES, is_archive, members
from dfad_bench.ingest.media.archive_formats import ChecksumRefused, Member
from dfad_bench.ingest.sample import FoundFile
from dfad_bench.ingest.sources.base import DAMAGED, Listing, is_hidden, walk_files


def list_all_files(
    root: Path, listing: Listing, skipped: Callable[[str], bool], follow: bool = False
) -> Iterator[FoundFile]:
    """Every file below `root`, and then every member of its archives.

    A member's origin is `<archive>/<member>`. Templates are tried on that, then on its path if the archive were
    unpacked into a folder of its own, or beside the archive. Archives for which `skipped` is true are plain files.
    With `follow`, links are followed.

    Raises:
        ConfigError: `root` is not a readable folder.
    """
    archives = []
    for file in walk_files(root, listing, follow):
        if is_archive(file.origin) and not file.outside and not skipped(file.origin):
            archives.append(file)
        else:
            yield file
    for archive in archives:
        yield from archive_members(archive, listing)


def places(archive: str, member: str) -> tuple[str, str, str]:
    """The paths of a member that templates are tried on.

    >>> places("real_train/1.tar.gz", "1/real/0/7.png")[2]
    'real_train/1/real/0/7.png'
    """
    stem = archive[: -max(len(s) for s in SUFFIXES if archive.lower().endswith(s))]
    folder = archive.rpartition("/")[0]
    return f"{archive}/{member}", f"{stem}/{member}", f"{folder}/{member}" if folder else member


def archive_members(archive: FoundFile, listing: Listing) -> Iterator[FoundFile]:
    """The members that can be used; all are marked where the archive's checksum is not that of its data."""
    found: list[FoundFile] = []  # until the last byte is read
    damaged = ""
    empty = True
    try:
        for member in members(archive.path):
            empty = False
            if file := _member(archive, member, listing):
                found.append(file)  # noqa: PERF401  those before an error count
        if empty:
            listing.ignore("archive without a file in it", archive.origin)
    except ImageRefused as refused:
        listing.ignore(DAMAGED, f"{archive.origin}: {refused.reason}")
        if isinstance(refused, ChecksumRefused):
            damaged = f"in a damaged archive, any member of which may be altered ({refused.reason})"
    yield from (replace(file, damaged=damaged) for file in found) if damaged else found


def _member(archive: FoundFile, member: Member, listing: Listing) -> FoundFile | None:
    origin = f"{archive.origin}/{member.name}"
    parts = member.name.split("/")
    if member.special:
        listing.ignore(f"{member.special} in an archive", origin)
    elif any(is_hidden(part) for part in parts if part != ".."):
        listing.ignore("hidden", origin)
    elif ".." in parts or parts[0] == "" or "\0" in member.name:
        listing.ignore("name that leads out of its archive", origin)
    elif is_archive(member.name):
        listing.ignore("archive in an archive", origin)
    else:
        return FoundFile(
            origin,
            archive.path,
            member.size,
            member=member.name,
            position=member.position,
            places=places(archive.origin, member.name),
            changed=archive.changed,
        )
    return None
