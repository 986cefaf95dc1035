"""Errors a user can mend: one class tree, one line each, an exit code per kind.

Bugs keep their traceback; everything here is printed as `Error: ...` by the CLI.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class DFADError(Exception):
    """A mistake the user can mend. `exit_code` is what the CLI ends with."""

    exit_code = 1


class ConfigError(DFADError):
    """A data file (YAML, JSON) or an option value is not what it must be; names file and key."""


class ManifestError(DFADError):
    """A manifest is missing, of another version, or does not hold what was asked of it."""


class ProtocolError(DFADError):
    """A protocol cannot be run on the given manifests (missing groups, too few rows, a leak)."""


class WeightsError(DFADError):
    """A weight file is missing or does not fit; says where to get it."""


class MissingDependencyError(DFADError):
    """An optional package is not installed; says what to install."""


class ShadowedPackageError(DFADError):
    """Another package of the same top-level name hides ours."""


class RefusedInputsError(DFADError):
    """The work is done, but more inputs were refused than the limit allows."""

    exit_code = 3


class IntegrityError(DFADError):
    """A file does not match the hash it was committed with, or was made with other settings."""

    exit_code = 4


class UnknownNameError(DFADError):
    """A name nothing is registered under.

    >>> print(UnknownNameError("model", "xcepton", ["xception", "cvit"]))
    no model named 'xcepton'. Did you mean xception? Known: cvit, xception.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=2)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"no {kind} named {name!r}.{hint} Known: {', '.join(names)}.")


def need(module: str, package: str, why: str) -> ModuleType:
    """Import `module`, or say which `package` to install for what (`why`).

    Raises:
        MissingDependencyError: the module cannot be imported.
    """
    try:
        return import_module(module)
    except (ImportError, RuntimeError) as error:  # torchvision raises RuntimeError on a mismatched torch
        raise MissingDependencyError(f"{why} needs {package}: pip install {package} ({error})") from error
