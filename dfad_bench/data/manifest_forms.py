"""The form of each value of `manifest.json`: its hash says that nothing changed by accident, not that it is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Forms = Mapping[str, Callable[[Any], bool]]  # key -> whether a value has the right form


def is_file_name(value: object) -> bool:
    """Whether a value is the name of a file, not a path to one elsewhere."""
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & set("/\\\0")


def is_counts(value: object) -> bool:
    """Whether a value holds rows by generator and status."""
    return isinstance(value, dict) and all(
        isinstance(row, dict) and all(map(_is_count, row.values())) for row in value.values()
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_parts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(p, dict) and _is_text(p.get("file")) for p in value)


def _are_whole_parts(value: object) -> bool:
    return _are_parts(value) and all(
        is_file_name(part["file"])
        and _is_count(part.get("rows"))
        and _is_text(part.get("sha256"))
        and _is_text(part.get("record_sha256"))
        for part in value  # type: ignore[attr-defined]  # a list by the line above
    )


def _is_mapping_or_absent(value: object) -> bool:
    return value is None or isinstance(value, dict)


READ_FORMS: Forms = {
    "dataset": lambda value: isinstance(value, dict) and _is_text(value.get("name")),
    "parts": _are_parts,
    "content_sha256": _is_text,
    "counts": is_counts,
    "rows": _is_count,
    "crop": _is_mapping_or_absent,
    "settings": _is_mapping_or_absent,
    "ignored": lambda value: value is None or (isinstance(value, dict) and all(map(_is_count, value.values()))),
    "ignored_examples": lambda value: (
        value is None or (isinstance(value, dict) and all(isinstance(names, list) for names in value.values()))
    ),
}
CHECK_FORMS: Forms = {
    "parts": _are_whole_parts,
    "files": lambda value: (
        isinstance(value, dict) and all(map(is_file_name, value)) and all(map(_is_text, value.values()))
    ),
}


def malformed_keys(info: Mapping[str, Any], forms: Forms) -> list[str]:
    """The keys that are missing or hold something of another form."""
    return [key for key, has_form in forms.items() if not has_form(info.get(key))]
