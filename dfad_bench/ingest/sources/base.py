"""What every source adapter returns: samples, and a count of the files it left out."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dfad_bench.core.errors import ConfigError
from dfad_bench.data.images import ANIMATION_EXTENSIONS, EXTENSIONS, VIDEO_EXTENSIONS
from dfad_bench.ingest.sample import FoundFile, RawSample

_EXAMPLES = 5
_FOLDERS = 200
PACKED_VIDEO = "video in an archive: unpack it, videos are read from plain files only"  # why a file is left out
NOT_ASKED, NOT_THERE = "not asked for", ", but not there"  # how the reasons of `--only` and of missing files end
LINKED = "linked folder"
READ_ALREADY = "link to a file or folder that is read already"
DAMAGED = "damaged archive"
# reasons, or their ends, of files that are left out on purpose
ON_PURPOSE = (
    "hidden", "hidden folder", "not part of this dataset", "also unpacked", "copy of another image", NOT_ASKED,
    "listed twice",
    "kept in the first of test, val, train", READ_ALREADY,
)  # fmt: skip
_LISTS = ("not in the table", NOT_THERE)  # what a list decides, or names in vain, is no file that was overlooked
_FOLDERS_LIKE = (  # whatever their names
    "unreadable folder", LINKED, DAMAGED, "unknown generator", "damaged Parquet file",
    "Parquet file beyond the limits", "Git LFS pointer", "Arrow file", "label and generator contradict",
    "labelled real, with the name", "columns of labels contradict",
)  # fmt: skip
# formats of pictures and videos that are not read
_UNREAD = (
    "avif", "heic", "heif", "jp2", "j2k", "jpx", "jxl", "tga", "dds", "psd", "exr", "cr2", "nef", "arw", "dng",
    "wmv", "flv", "mpg", "mpeg", "3gp", "ogv",
)  # fmt: skip
# extensions of pictures, videos and archives, readable or not: one left out may have been meant to be read
PICTURES = (
    *EXTENSIONS, *VIDEO_EXTENSIONS, *ANIMATION_EXTENSIONS, *_UNREAD,
    "tar", "zip", "gz", "tgz", "7z", "rar", "bz2", "xz",
)  # fmt: skip
# of Windows, macOS, Linux, and of network drives (Synology, QNAP), whose folders hold copies and previews
_SYSTEM_FILES = (
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "lost+found",
    "@eadir", "@__thumb", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
)  # fmt: skip


@dataclass
class Listing:
    """The samples of a source folder, and how many files were left out for which reason, with the first few names.

    `notes` are remarks for the user, for example that a list of splits is missing. `overlooked` counts the pictures,
    videos, archives and folders among those left out, but for those left out on purpose.
    """

    samples: list[RawSample] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folders: dict[str, dict[str, int]] = field(default_factory=dict)  # why -> folder (its first two levels) -> files

    overlooked: int = 0

    def ignore(self, why: str, origin: str) -> None:
        """Count a file that is not read."""
        if counts_as_overlooked(why):
            picture = origin.lower().rpartition(".")[2] in PICTURES
            self.overlooked += picture or why.startswith(_FOLDERS_LIKE)
        self.ignored[why] = self.ignored.get(why, 0) + 1
        folder = "/".join(origin.split("/")[:-1][:2])
        counts = self.folders.setdefault(why, {})
        if folder in counts or len(counts) < _FOLDERS:
            counts[folder] = counts.get(folder, 0) + 1
        names = self.examples.setdefault(why, [])
        if len(names) < _EXAMPLES:
            names.append(origin)


def counts_as_overlooked(why: str) -> bool:
    """Whether a reason does not say that files were left out on purpose."""
    return not why.endswith((*ON_PURPOSE, *_LISTS))


def walk_files(root: Path, listing: Listing, follow: bool = False) -> Iterator[FoundFile]:
    """Every file below `root`, in sorted order; hidden files, linked folders and unreadable ones are counted.

    With `follow`, links to files and folders elsewhere are read under the names they have below `root`; linked folders
    come last, and a folder that was read already (a loop, or a second link to it) is counted.

    Raises:
        ConfigError: `root` is not a readable folder.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder")
    base = os.path.realpath(root)
    try:
        next(os.scandir(base), None)
    except OSError as error:
        raise ConfigError(f"{root}: cannot be read ({error.strerror})") from error
    walk = _Walk(base, listing, follow)
    yield from walk.files(base, "")
    while walk.linked:
        yield from walk.files(*walk.linked.popleft())


@dataclass
class _Walk:
    """The folders a walk has been in, by device and number, and the linked ones it has still to read."""

    base: str
    listing: Listing
    follow: bool
    linked: deque[tuple[str, str]] = field(default_factory=deque)  # real path, name below the root
    seen: set[tuple[int, int]] = field(default_factory=set)

    def files(self, top: str, prefix: str) -> Iterator[FoundFile]:
        def unreadable(error: OSError) -> None:
            self.listing.ignore("unreadable folder", printable_name(prefix + os.path.relpath(error.filename, top)))

        for folder, folders, files in os.walk(top, onerror=unreadable):
            relative = os.path.relpath(folder, top)
            here = prefix if relative == "." else f"{prefix}{relative}/".replace(os.sep, "/")
            if self.follow and not self._is_new(folder):
                self.listing.ignore(READ_ALREADY, printable_name(here.rstrip("/")))
                folders.clear()
                continue
            self._note_links(folder, here, folders)
            for name in sorted(name for name in folders if is_hidden(name)):
                self.listing.ignore("hidden folder", printable_name(here + name))
            folders[:] = [name for name in sorted(folders) if not is_hidden(name)]
            for name in sorted(files):
                origin = printable_name(here + name)
                if is_hidden(name):
                    self.listing.ignore("hidden", origin)
                    continue
                yield _found_file(self.base, os.path.join(folder, name), origin, self.follow)  # noqa: PTH118

    def _is_new(self, folder: str) -> bool:
        facts = os.stat(folder)  # noqa: PTH116
        key = facts.st_dev, facts.st_ino
        new = key not in self.seen
        self.seen.add(key)
        return new

    def _note_links(self, folder: str, here: str, folders: list[str]) -> None:
        for name in sorted(folders):
            place = os.path.join(folder, name)  # noqa: PTH118  a million names: strings are faster
            if is_hidden(name) or not os.path.islink(place):  # noqa: PTH114
                continue
            if not self.follow:
                self.listing.ignore(LINKED, printable_name(here + name))
                continue
            real = os.path.realpath(place)
            if any(os.path.commonpath((real, inner)) == real for inner in (self.base, folder)):
                self.listing.ignore(READ_ALREADY, printable_name(here + name))  # a loop: it holds the link itself
            else:
                self.linked.append((real, f"{here}{name}/"))


def _found_file(base: str, name: str, origin: str, follow: bool) -> FoundFile:
    path = Path(name)
    try:
        facts = os.lstat(name)  # noqa: PTH116  a Path would keep a second copy of the name
        if not stat.S_ISLNK(facts.st_mode):
            return FoundFile(origin, path, facts.st_size, changed=facts.st_mtime_ns)
        real = path.resolve(strict=True)  # what is read later is no link
        if not follow and not real.is_relative_to(base):
            return FoundFile(origin, path, 0, outside=True)
        facts = real.stat()
        return FoundFile(origin, real, facts.st_size, changed=facts.st_mtime_ns)
    except (OSError, RuntimeError):  # deleted meanwhile, or a loop of links: reading it gives the reason
        return FoundFile(origin, path, 0)


def is_hidden(name: str) -> bool:
    """Whether a file or folder belongs to the operating system (`.DS_Store`, `__MACOSX`, ...) or is hidden."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def printable_name(name: str) -> str:
    r"""A file name as text that can be stored; bytes that are not UTF-8 as `\xNN`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
