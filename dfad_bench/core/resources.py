"""Finding the data that ships with the toolkit, in an installed wheel and in a checkout alike."""

from __future__ import annotations

from pathlib import Path

from dfad_bench.core.errors import ConfigError, UnknownNameError


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
    raise ConfigError(f"no shipped {kind!r}: looked in {packed} and {checkout}; reinstall dfad-bench")


def shipped_names(kind: str, folder: str) -> list[str]:
    """Names (stems) of the YAML files in a shipped folder, e.g. `shipped_names("manifests", "protocols")`."""
    return sorted(path.stem for path in (shipped(kind) / folder).glob("*.yaml"))


def find_yaml(kind: str, folder: str, name: str) -> Path:
    """The file of a shipped name, or `name` itself when it is the path of a user's own YAML file.

    Raises:
        UnknownNameError: neither; the nearest shipped names are offered.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        own = Path(name)
        if own.is_file():
            return own
        raise ConfigError(f"{name}: no such file")
    path = shipped(kind) / folder / f"{name}.yaml"
    if not path.is_file():
        raise UnknownNameError(folder.rstrip("s"), name, shipped_names(kind, folder))
    return path
