"""Errors that a user can fix: one class tree, one line each, an exit code per kind.

Bugs keep their traceback; the CLI prints the errors of this file as `Error: ...`. What a message repeats of a file or
an option goes through `quoted`, `cut` or `listed`, so that the message stays readable whatever was in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

from dfad_bench.core.escape import one_line

_SHOWN = 200  # characters that an error repeats of a value from outside
_END = 60  # of them at its end: paths differ there
_NAMED = 12  # names that an error lists
_LONGEST = 2400  # characters of a whole message: many groups may be missing, each with what to do
_TAIL = 600  # of them at the end, where what to do stands
# kinds of names that `dfad list` knows
_LISTS = {
    "model": "models", "view": "views", "protocol": "protocols", "dataset": "datasets", "generator": "generators",
    "estimator": "estimators", "metric": "metrics", "recipe": "recipes", "prompt": "prompts", "crop": "crops",
    "corruption": "corruptions", "weight file": "weights", "table": "tables",
}  # fmt: skip


def quoted(value: Any) -> str:
    """The `repr` of a value from outside, for an error: without its middle where it is long.

    >>> quoted("a"), len(quoted("a" * 60_000)) < 250, quoted("a" * 60_000)[-22:]
    ("'a'", True, "a' (60,000 characters)")
    """
    if isinstance(value, str | bytes) and len(value) > _SHOWN:
        dots = "…" if isinstance(value, str) else b"..."
        text = cut(repr(value[: _SHOWN - _END] + dots + value[-_END:]), 4 * _SHOWN)  # type: ignore[operator]
        return f"{text} ({len(value):,} characters)"
    return cut(repr(value), 4 * _SHOWN if isinstance(value, str | bytes) else _SHOWN)


def cut(text: str, most: int = _SHOWN) -> str:
    """Text from outside, for an error: without its middle where it is longer than `most` characters.

    >>> cut("a" * 60_000, 90)
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (60,000 characters)'
    """
    if len(text) <= most:
        return text
    return f"{text[: most - _END]}…{text[-_END:]} ({len(text):,} characters)"


def listed(names: Iterable[object], most: int = _NAMED, separator: str = ", ") -> str:
    r"""The first names, for a message, and how many more there are; long ones are cut, line breaks written as escapes.

    >>> listed(["a", "b\n", "c", "d", "e"], 3)
    'a, b\\n, c and 2 more'
    """
    every = list(names)
    shown = separator.join(one_line(cut(str(name))) for name in every[:most])
    return shown + (f" and {len(every) - most:,} more" if len(every) > most else "")


class DFADError(Exception):
    """A mistake that the user can fix. `exit_code` is the exit status of the CLI."""

    exit_code = 1

    def __str__(self) -> str:
        """The message; one far too long lacks its middle."""
        text = super().__str__()
        left_out = len(text) - _LONGEST
        if left_out <= 0:
            return text
        return f"{text[: _LONGEST - _TAIL]} … ({left_out:,} characters left out) … {text[-_TAIL:]}"


class ConfigError(DFADError):
    """A data file (YAML, JSON) or an option value is not valid; the message names file and key."""


class ManifestError(DFADError):
    """A manifest is missing, of another version, or lacks the requested rows or columns."""


class ProtocolError(DFADError):
    """A protocol cannot be run on the given manifests (missing groups, too few rows, a leak)."""


class WeightsError(DFADError):
    """A weight file is missing or does not fit; the message says where to get it."""


class AbsentWeightsError(WeightsError):
    """A named weight file is not there at all."""


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
    """A name under which nothing is registered: the nearest ones, all where they are few, and which command lists them.

    >>> print(UnknownNameError("model", "xcepton", ["xception", "cvit"]))
    no model named 'xcepton'. Did you mean xception? Known: cvit, xception.
    >>> print(UnknownNameError("generator", "flax", ["flux", *map(str, range(99))]))
    no generator named 'flax'. Did you mean flux? `dfad list generators` shows all 100.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], advice: str = "", near: Iterable[str] | None = None
    ) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=3) if near is None else list(near)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"no {kind} named {quoted(name)}.{hint} {_all_of(kind, name, names)}.{advice}")


def _all_of(kind: str, name: str, names: list[str]) -> str:
    if len(names) <= _NAMED:
        return f"Known: {', '.join(names)}"
    if kind in _LISTS:
        return f"`dfad list {_LISTS[kind]}` shows all {len(names)}"
    likeness = SequenceMatcher(b=name[:_SHOWN])

    def distance(other: str) -> float:
        likeness.set_seq1(other)
        return -likeness.ratio()

    return f"The nearest of {len(names)}: {', '.join(sorted(names, key=distance)[:_NAMED])}"


def need(module: str, package: str, why: str) -> ModuleType:
    """Import `module`; if that fails, the error says that `why` needs the `package`.

    Raises:
        MissingDependencyError: the module cannot be imported.
    """
    try:
        return import_module(module)
    except (ImportError, RuntimeError) as error:  # torchvision raises RuntimeError on a mismatched torch
        raise MissingDependencyError(f"{why} needs {package}: pip install {package} ({error})") from error
