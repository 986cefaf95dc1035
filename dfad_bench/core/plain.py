"""Plain data from outside: what JSON and YAML can hold and nothing after them can use is refused where it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_DIGITS = 300  # of the largest integer: beyond it lies no float


def parse_json(text: str, *, constants: bool = False) -> Any:
    r"""The value of a JSON text.

    Args:
        text: the whole document.
        constants: NaN and Infinity, which JSON does not know but many programs write, are allowed.

    Raises:
        ValueError: not JSON, a key that occurs twice in an object, an integer of more than 300 digits, a number that is
            NaN or infinite, or text that is no Unicode (half of a surrogate pair).
        RecursionError: nested too deeply.

    >>> parse_json('{"train": 1, "train": 2}')
    Traceback (most recent call last):
    ValueError: the key 'train' occurs twice in one object
    """

    def constant(name: str) -> float:
        if not constants:
            raise ValueError(f"the number {name}")
        return float(name)

    value = json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=constant)
    if "\\ud" in text.lower():
        check_plain(value)
    return value


def check_plain(value: Any, *, unicode_only: bool = True) -> None:
    """Check data of lists, mappings and scalars.

    Args:
        value: the data.
        unicode_only: text must be Unicode; paths of files need not be.

    Raises:
        ValueError: text that is no Unicode, or an integer that is larger than any in use here.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set):
            waiting += item
        elif isinstance(item, str) and unicode_only and not item.isascii():
            _check_text(item)
        elif isinstance(item, int) and abs(item) >= 10**_DIGITS:
            raise ValueError(f"an integer of more than {_DIGITS} digits")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"text that is no Unicode: {ascii(text[:40])}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:60]!r} occurs twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]}, which is too large")
    return value
