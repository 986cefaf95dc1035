"""Errors that a user can fix: one class tree, one line each, an exit code per kind.

Bugs keep their traceback; the CLI prints the errors of this file as `Error: ...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline
_LONGEST = 120  # characters of a name in a message


def printable(text: str) -> str:
    r"""Text for a terminal: control characters, which names from unverified input may hold, are written as escapes.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def some(names: Iterable[str], most: int = 3) -> str:
    r"""A few names for a message, and how many more there are; long ones are cut, line breaks written as escapes.

    >>> some(["a", "b\n", "c", "d", "e"])
    'a, b\\n, c and 2 more'
    """
    listed = list(names)
    shown = [printable(name.replace("\n", "\\n"))[:_LONGEST] for name in listed[:most]]
    return ", ".join(shown) + (f" and {len(listed) - most} more" if len(listed) > most else "")


class DFADError(Exception):
    """A mistake that the user can fix. `exit_code` is the exit status of the CLI."""

    exit_code = 1


class ConfigError(DFADError):
    """A data file (YAML, JSON) or an option value is not valid; the message names file and key."""


class ManifestError(DFADError):
    """A manifest is missing, of another version, or lacks the requested rows or columns."""


class ProtocolError(DFADError):
    """A protocol cannot be run on the given manifests (missing groups, too few rows, a leak)."""


class WeightsError(DFADError):
    """A weight file is missing or does not fit; the message says where to get it."""


class MissingDependencyError(DFADError):
    """An optional package is not installed; the message says what to install."""


class ShadowedPackageError(DFADError):
    """Another package with the same top-level name hides ours."""


class RefusedInputsError(DFADError):
    """The work was completed, but more inputs were refused than the limit allows."""

    exit_code = 3


class IntegrityError(DFADError):
    """A file does not match its recorded hash, or was made with other settings."""

    exit_code = 4


class UnknownNameError(DFADError):
    """A name under which nothing is registered.

    >>> print(UnknownNameError("model", "xcepton", ["xception", "cvit"]))
    no model named 'xcepton'. Did you mean xception? Known: cvit, xception.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], advice: str = "", near: Iterable[str] | None = None
    ) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=2) if near is None else list(near)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"no {kind} named {name!r}.{hint} Known: {', '.join(names)}.{advice}")


def need(module: str, package: str, why: str) -> ModuleType:
    """Import `module`; if that fails, the error says that `why` needs the `package`.

    Raises:
        MissingDependencyError: the module cannot be imported.
    """
    try:
        return import_module(module)
    except (ImportError, RuntimeError) as error:  # torchvision raises RuntimeError on a mismatched torch
        raise MissingDependencyError(f"{why} needs {package}: pip install {package} ({error})") from error
