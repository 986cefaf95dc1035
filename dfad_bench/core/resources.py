"""Finding data files: those shipped with the toolkit, and those of folders the user includes.

An included folder has the layout of `manifests/`, and `reported/` for published tables:

    taxonomy.yaml  corruptions.yaml  weights.yaml
    crops/  datasets/  prompts/  protocols/  recipes/  reported/

A shipped file that got a new version keeps its earlier ones as `earlier/<name>@<version>.yaml` in its folder, and
they are found by that name.

It is named by `dfad --include DIR`, by the environment variable `DFAD_INCLUDE`, or by `include(DIR)` in Python. The
environment variable carries it to worker processes. A single dataset file may be included as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from dfad_bench.core.errors import ConfigError, UnknownNameError, quoted

INCLUDE = "DFAD_INCLUDE"  # environment: folders, separated as in PATH
TABLES = ("corruptions.yaml", "taxonomy.yaml", "weights.yaml")  # a row of the file is a thing with a name
FOLDERS = ("crops", "datasets", "prompts", "protocols", "recipes", "reported")  # a file of the folder is
SHIPPED = "dfad_bench"  # what `origin` says of shipped files
_DOCUMENTS = ("README", "LICENSE", "LICENCE", "CHANGELOG", "CITATION")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

P = ParamSpec("P")
T = TypeVar("T")
_generation = 0  # of the included folders' content, as far as this process has read it


def shipped(kind: str) -> Path:
    """The folder `kind` ("manifests" or "leaderboards"): packed in a wheel, or at the root of a checkout.

    Raises:
        ConfigError: neither is there (a broken installation).
    """
    package = Path(__file__).resolve().parents[1]
    packed, checkout = package / "_data" / kind, package.parent / kind
    for folder in (packed, checkout):
        if folder.is_dir():
            return folder
    raise ConfigError(f"no shipped {quoted(kind)}: looked in {packed} and {checkout}; reinstall dfad-bench")


def shipped_names(kind: str, folder: str) -> list[str]:
    """Names (stems) of the YAML files in a shipped folder, e.g. `shipped_names("manifests", "protocols")`."""
    return sorted(path.stem for path in (shipped(kind) / folder).glob("*.yaml"))


def yaml_files(kind: str, folder: str) -> dict[str, Path]:
    """Every file of a sort by name (stem): the shipped ones, then those of included folders.

    Args:
        kind: "manifests" or "leaderboards", where the toolkit ships such files.
        folder: one of `FOLDERS`.

    Raises:
        ConfigError: a bad included folder, or a name that two files have, case aside; both are named.
    """
    found: dict[str, Path] = {}
    folded_names: dict[str, Path] = {}  # without case, which some file systems do not tell apart
    for base in (shipped(kind), *included()):
        included_file = [base] if folder == "datasets" and base.is_file() else []
        for path in [*sorted((base / folder).glob("*.yaml")), *included_file]:
            if other := folded_names.get(path.stem.lower()):
                raise ConfigError(f"{path}: the name {quoted(path.stem)} is taken by {other}; rename one")
            found[path.stem] = folded_names[path.stem.lower()] = path
    return found


def yaml_names(kind: str, folder: str) -> list[str]:
    """The names of `yaml_files`, sorted."""
    return sorted(yaml_files(kind, folder))


def table_files(table: str) -> list[Path]:
    """The shipped file of that name (one of `TABLES`), then those of included folders that have one."""
    own = (folder / table for folder in included())
    return [shipped("manifests") / table, *(path for path in own if path.is_file())]


def earlier_versions(kind: str, folder: str) -> dict[str, Path]:
    """The shipped files that a newer version has replaced, by `<name>@<version>`."""
    return {path.stem: path for path in sorted((shipped(kind) / folder / "earlier").glob("*@*.yaml"))}


def find_yaml(kind: str, folder: str, name: str) -> Path:
    """The file of a shipped or included name, or `name` itself when it is the path of a YAML file.

    Args:
        kind: "manifests" or "leaderboards", where the toolkit ships such files.
        folder: one of `FOLDERS`.
        name: a name, `<name>@<version>` for an earlier version, or a path.

    Raises:
        UnknownNameError: none of them; the nearest names are offered.
        ConfigError: a path without a file, or a bad included folder.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        own = Path(name)
        if own.is_file():
            return own
        raise ConfigError(f"{name}: no such file")
    known = {**yaml_files(kind, folder), **earlier_versions(kind, folder)}
    if name not in known:
        raise UnknownNameError(folder.rstrip("s"), name, known)
    return known[name]


def origin(path: Path) -> str:
    """Where a data file comes from: `SHIPPED`, the included folder it lies in, or the file itself."""
    places = (path.resolve(), *path.resolve().parents)
    return next((str(folder) for folder in included() if folder in places), SHIPPED)


def included() -> tuple[Path, ...]:
    """The included folders (or dataset files), absolute, in the order given; checked when they are first asked for.

    Raises:
        ConfigError: one is missing, or holds files that are not of the layout.
    """
    text = os.environ.get(INCLUDE, "")
    return _folders(text, _generation) if text else ()


@contextmanager
def include(*folders: str | Path) -> Iterator[None]:
    """Add folders inside the block, for this process and those it starts; files are read anew.

    Args:
        folders: relative ones are resolved once, here. A folder that is included already stays where it is. The path
            of a dataset file includes that file alone.

    Raises:
        ConfigError: a folder is missing or not of the layout, or a name of it is taken.
    """
    before = os.environ.get(INCLUDE)
    try:
        add_includes(*folders)
        yield
    finally:
        if before is None:
            os.environ.pop(INCLUDE, None)
        else:
            os.environ[INCLUDE] = before


def add_includes(*folders: str | Path) -> None:
    """Add folders for the rest of this process; see `include`."""
    global _generation
    _generation += 1
    known = dict.fromkeys([*included(), *(_absolute_path(folder) for folder in folders)])
    if not known:
        return
    before = os.environ.get(INCLUDE)
    os.environ[INCLUDE] = os.pathsep.join(map(str, known))
    try:
        for folder in FOLDERS:
            yaml_files(
                "leaderboards" if folder == "reported" else "manifests", folder
            )  # refuses bad folders and taken names
    except ConfigError:
        if before is None:
            del os.environ[INCLUDE]
        else:
            os.environ[INCLUDE] = before
        raise


def per_include(function: Callable[P, T]) -> Callable[P, T]:
    """Like `functools.cache`, for what depends on the included folders: kept results count for the same ones only."""

    @cache
    def cached_call(state: tuple[str, int], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        text = os.environ.get(INCLUDE, "")
        # the stub of `cache` forgets the types of arguments and asks for hashable ones; others raise TypeError
        return cached_call((text, _generation if text else 0), *args, **kwargs)  # type: ignore[arg-type]

    return call


@cache
def _folders(text: str, generation: int) -> tuple[Path, ...]:
    folders = tuple(dict.fromkeys(_absolute_path(part) for part in text.split(os.pathsep) if part))
    for folder in folders:
        _check_layout(folder)
    return folders


def _absolute_path(folder: str | Path) -> Path:
    path = Path(folder).expanduser().resolve()
    if os.pathsep in str(path):
        raise ConfigError(f"{path}: cannot be included, {quoted(os.pathsep)} separates folders in {INCLUDE}; rename it")
    return path


def _check_layout(folder: Path) -> None:
    if folder.is_file():
        _check_yaml(folder.parent, folder)
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder to include")
    found = [path for path in sorted(folder.iterdir()) if not _is_document(path)]
    if not found:
        raise ConfigError(f"{folder}: nothing to include; {_layout()}")
    for path in found:
        if path.name in FOLDERS and path.is_dir():
            for inner in sorted(path.iterdir()):
                _check_yaml(folder, inner)
        elif path.name in TABLES:
            _check_yaml(folder, path)
        else:
            near = get_close_matches(path.name, (*TABLES, *FOLDERS), n=1)
            hint = f" (did you mean {quoted(near[0])}?)" if near and near[0] != path.name else ""
            raise ConfigError(f"{path}: not part of a folder to include{hint}; {_layout()}")


def _layout() -> str:
    return f"it may hold {', '.join(TABLES)} and the folders {', '.join(FOLDERS)}"


def _is_document(path: Path) -> bool:
    """Files for people and version control, which may lie anywhere."""
    return path.name.startswith(".") or path.stem.upper() in _DOCUMENTS


def _check_yaml(folder: Path, path: Path) -> None:
    if _is_document(path):
        return
    if path.suffix != ".yaml" or not path.is_file() or not _NAME.fullmatch(path.stem):
        raise ConfigError(f"{path}: must be a file NAME.yaml, NAME of letters, digits, '_', '-' and '.'")
    if not path.resolve().is_relative_to(folder):
        raise ConfigError(f"{path}: a link out of {folder}; copy the file, or include its own folder")
