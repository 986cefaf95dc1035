"""Writing a site: into a folder of its own, where an earlier site is replaced and nothing else is touched."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import is_plain_relative, read_json, write_json, write_text

LIST = "site-files.json"  # the names of the files that are ours
_WRITERS = 8
_SUFFIXES = (".html", ".csv", ".tex", ".svg", ".css", ".js")


def write_site(folder: Path, files: Mapping[str, str]) -> None:
    """Write a site; of an earlier one, pages that are no more are removed.

    Raises:
        ConfigError: the folder holds other things, and no earlier site.
    """
    folder = Path(folder)
    earlier = _files_before(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / LIST, sorted({*earlier, *files}))  # a site that is cut short can be written again
    with ThreadPoolExecutor(_WRITERS) as pool:  # each waits for the disk
        for written in [pool.submit(write_text, folder / name, text) for name, text in files.items()]:
            written.result()
    for name in earlier - files.keys():
        (folder / name).unlink(missing_ok=True)
    write_json(folder / LIST, sorted(files))


def _files_before(folder: Path) -> set[str]:
    """Files of an earlier site."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; a site is a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return set()
    if not (folder / LIST).is_file():
        raise ConfigError(f"{folder} is not empty and holds no earlier site; name an empty or a new folder")
    names = read_json(folder / LIST)
    if not isinstance(names, list) or not all(isinstance(name, str) and _is_ours(name) for name in names):
        raise ConfigError(f"{folder / LIST} is not a list of a site's files; name an empty or a new folder")
    return set(names)


def _is_ours(name: str) -> bool:
    return is_plain_relative(name) and "/" not in name and Path(name).suffix in _SUFFIXES
