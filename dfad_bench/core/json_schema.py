"""JSON Schemas (draft 2020-12) of the files that others write or read: written down once, or read off our dataclasses.

What a schema cannot say (that a label occurs once, that hashes fit) is checked when the file is read.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from importlib import resources
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.registry import resolve

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
# name -> what it is of, and the file in this folder or the dataclass that says its form
SCHEMAS: dict[str, tuple[str, str]] = {
    "record": ("record.json of a run, and record.json.gz of an entry", "result_record.schema.json"),
    "board": ("dfad leaderboard --format json", "board.schema.json"),
    "manifest": ("manifest.json of a manifest", "manifest.schema.json"),
    "entry": ("entry.json of an entry of the leaderboards", "dfad_bench.report.entries.entry:Entry"),
    "protocol": ("protocols/NAME.yaml", "dfad_bench.core.protocol:Protocol"),
    "dataset": ("datasets/NAME.yaml", "dfad_bench.ingest.sources.spec:DatasetSpec"),
    "recipe": ("recipes/NAME.yaml", "dfad_bench.core.recipe:Recipe"),
    "model-card": ("what is said of a model by import-predictions --card", "dfad_bench.core.imported:ModelCard"),
    "run-config": ("config.yaml of a run", "dfad_bench.engine.config:RunConfig"),
    "reported": ("reported/NAME.yaml, a table as a paper printed it", "dfad_bench.report.reported:ReportedTable"),
}
# keys of a file that its reader turns into others
_READ_FIRST: dict[str, dict[str, Any]] = {
    "protocol": {"dated": {"type": "array", "description": "groups dealt by their month; see core/dated_groups.py"}}
}


def schema(name: str) -> dict[str, Any]:
    """A JSON Schema by its name.

    Raises:
        UnknownNameError: no such schema.
    """
    if name not in SCHEMAS:
        raise UnknownNameError("schema", name, SCHEMAS)
    what, source = SCHEMAS[name]
    if ":" not in source:
        text = (resources.files("dfad_bench.core") / source).read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found
    cls = resolve("schema", name, {name: source})
    found = {"$schema": _DIALECT, "$id": f"dfad_bench/{name}", "title": what, **dataclass_schema(cls)}
    found["properties"] |= _READ_FIRST.get(name, {})
    return found


def dataclass_schema(cls: type[Any]) -> dict[str, Any]:
    """The form in which `core.strict.from_mapping` reads a dataclass; inner ones under `$defs`."""
    inner: dict[str, Any] = {}
    whole = _object(cls, inner)
    return {**whole, **({"$defs": dict(sorted(inner.items()))} if inner else {})}


def _object(cls: type[Any], inner: dict[str, Any]) -> dict[str, Any]:
    hints, own = get_type_hints(cls), [field for field in fields(cls) if field.init]
    required = [f.name for f in own if f.default is MISSING and f.default_factory is MISSING]
    found: dict[str, Any] = {"type": "object", "additionalProperties": False}
    if text := _first_sentence(cls):
        found["description"] = text
    found["properties"] = {field.name: _value(hints[field.name], inner) for field in own}
    return found | ({"required": required} if required else {})


def _value(hint: Any, inner: dict[str, Any]) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_value(arg, inner) for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple:
        return _list(args, inner)
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _value(args[1], inner)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in inner:
            inner[hint.__name__] = {}  # a class may hold itself
            inner[hint.__name__] = _object(hint, inner)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    raise TypeError(f"{hint}: no form in JSON Schema is known for it")


def _list(args: tuple[Any, ...], inner: dict[str, Any]) -> dict[str, Any]:
    if len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": _value(args[0], inner)}
    each = [_value(arg, inner) for arg in args]
    return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}


def _first_sentence(cls: type[Any]) -> str:
    text = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
    return "" if text.startswith(f"{cls.__name__}(") else re.split(r"(?<=\.) ", text)[0]
