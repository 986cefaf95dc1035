"""What every source adapter returns: samples, and a count of the files it left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dfad_bench.core.errors import ConfigError
from dfad_bench.ingest.sample import FoundFile, RawSample

_EXAMPLES = 5
_FOLDERS = 200
PACKED_VIDEO = "video in an archive: unpack it, videos are read from plain files only"  # why a file is left out
# of Windows, macOS, Linux, and of network drives (Synology, QNAP), whose folders hold copies and previews
_SYSTEM_FILES = (
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "lost+found",
    "@eadir", "@__thumb", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
)  # fmt: skip


@dataclass
class Listing:
    """The samples of a source folder, and how many files were left out for which reason, with the first few names.

    `notes` are remarks for the user, for example that a list of splits is missing.
    """

    samples: list[RawSample] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folders: dict[str, dict[str, int]] = field(default_factory=dict)  # why -> folder (its first two levels) -> files

    def ignore(self, why: str, origin: str) -> None:
        """Count a file that is not read."""
        self.ignored[why] = self.ignored.get(why, 0) + 1
        folder = "/".join(origin.split("/")[:-1][:2])
        counts = self.folders.setdefault(why, {})
        if folder in counts or len(counts) < _FOLDERS:
            counts[folder] = counts.get(folder, 0) + 1
        names = self.examples.setdefault(why, [])
        if len(names) < _EXAMPLES:
            names.append(origin)


def walk_files(root: Path, listing: Listing) -> Iterator[FoundFile]:
    """Every file below `root`, in sorted order; hidden files, linked folders and unreadable ones are counted.

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

    def unreadable(error: OSError) -> None:
        listing.ignore("unreadable folder", printable_name(os.path.relpath(error.filename, base)))

    for folder, folders, files in os.walk(base, onerror=unreadable):
        relative = os.path.relpath(folder, base)
        prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
        for name in sorted(folders):
            if os.path.islink(os.path.join(folder, name)):  # noqa: PTH114, PTH118  a million names: strings are faster
                listing.ignore("linked folder", printable_name(prefix + name))
        folders[:] = [name for name in sorted(folders) if not is_hidden(name)]
        for name in sorted(files):
            origin = printable_name(prefix + name)
            if is_hidden(name):
                listing.ignore("hidden", origin)
                continue
            yield _found(base, os.path.join(folder, name), origin)  # noqa: PTH118


def _found(base: str, name: str, origin: str) -> FoundFile:
    path = Path(name)
    try:
        facts = os.lstat(name)  # noqa: PTH116  a Path would keep a second copy of the name
        if not stat.S_ISLNK(facts.st_mode):
            return FoundFile(origin, path, facts.st_size, changed=facts.st_mtime_ns)
        real = path.resolve(strict=True)  # what is read later is no link
        if not real.is_relative_to(base):
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
