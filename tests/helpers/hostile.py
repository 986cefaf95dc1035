"""Files as a stranger may hand them over: mutations of values, text and tables, and the outcomes that are right."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.core.errors import DFADError

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 2**63, 10**299, 0.5, -0.0, 1e308, "", "x", "x" * 3000, "a\nb", "\x1b[2J\x9b",
    "../../x", "\x00", "\u202e\ufeff", "é" * 40, [], [[]], [None], ["x", 1], {}, {"x": 1}, {"": None}, {"x": {"x": []}},
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "NaN", "-Infinity", "1e400", "9" * 5000, '"\\ud800"', '{"a": 1, "a": 2}', "[" * 5000, "", '"', "null", "[]", "{}",
    "7",
)  # fmt: skip


def outcome(act: Callable[[], object]) -> DFADError | None:
    """What an act ends with: nothing, or an error of one line that can be printed. Anything else is a fault."""
    try:
        act()
    except DFADError as error:
        text = str(error)
        assert "\n" not in text, text
        assert len(text) < 6000, f"{len(text)} characters: {text[:300]}"
        text.encode()
        return error
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in plain data, the whole first."""
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += places(item, (*path, number))
    return found


def changed(value: Any, rng: random.Random) -> Any:
    """Plain data with one to three values replaced, removed, added, doubled or renamed."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        path = rng.choice(_spread(places(value)))
        if not path:
            return rng.choice(VALUES) if rng.random() < 0.2 else value
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        key, how = path[-1], rng.choice(("replace", "replace", "replace", "remove", "add", "rename"))
        if how == "replace":
            inner[key] = copy.deepcopy(rng.choice(VALUES))
        elif how == "remove":
            del inner[key]
        elif isinstance(inner, list):
            inner.insert(key, copy.deepcopy(inner[key]))
        elif how == "add":
            inner[rng.choice(("x", "", "seed", "é"))] = copy.deepcopy(rng.choice(VALUES))
        else:
            inner[rng.choice(("x", "99999999999999999999", "../x"))] = inner.pop(key)
    return value


def _spread(paths: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Long lists (numbers of a record) must not be all that is ever changed: a hundred entries of each kind."""
    kinds: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for path in paths:
        kinds.setdefault(tuple("[]" if isinstance(key, int) else key for key in path), []).append(path)
    return [path for some in kinds.values() for path in some[:3]]


def changed_text(text: str, rng: random.Random) -> bytes:
    """A text file with a value that no parser should take, cut, or with bytes flipped."""
    how = rng.choice(("value", "value", "cut", "flip", "twice", "bytes"))
    if how == "value":
        marks = [at for at, sign in enumerate(text) if sign in ":,\n"]
        at = rng.choice(marks) if marks else 0
        end = next((k for k in range(at + 1, len(text)) if text[k] in ",\n"), len(text))
        return (text[: at + 1] + " " + rng.choice(TEXTS) + text[end:]).encode()
    data = bytearray(text.encode())
    if how == "cut":
        return bytes(data[: rng.randrange(len(data) + 1)])
    if how == "twice":
        return bytes(data + data)
    if how == "bytes":
        at = rng.randrange(len(data) + 1)
        return bytes(data[:at] + rng.choice((b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\r", b"\t")) + data[at:])
    for _ in range(3):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def changed_json(text: str, rng: random.Random) -> bytes:
    """A JSON document with other values, or other text."""
    if rng.random() < 0.3:
        return changed_text(text, rng)
    return json.dumps(changed(json.loads(text), rng)).encode()


def changed_table(table: pa.Table, rng: random.Random) -> pa.Table:
    """A table with a column less, more, renamed, twice, of another type, or with other values; or without rows."""
    number = rng.randrange(table.num_columns)
    name, rows = table.column_names[number], table.num_rows
    how = rng.choice(("remove", "rename", "type", "type", "value", "value", "twice", "empty", "rows", "metadata"))
    if how == "remove":
        return table.remove_column(number)
    if how == "rename":
        return table.rename_columns([f"{other}x" if other == name else other for other in table.column_names])
    if how == "twice":
        return table.append_column(name, table.column(number))
    if how == "empty":
        return table.slice(0, 0)
    if how == "rows":
        return pa.concat_tables([table, table.slice(rng.randrange(rows))])
    if how == "metadata":
        about = {"index_columns": ["nowhere"], "columns": [{"name": 1}], "column_indexes": [{}]}
        return table.replace_schema_metadata({b"pandas": json.dumps(about).encode()})
    if how == "type":
        columns: list[list[Any]] = [
            [None] * rows, [{"a": 1}] * rows, [[1]] * rows, [b"\xff"] * rows, [2**62] * rows, ["x"] * rows,
            [float("nan")] * rows, [True] * rows,
        ]  # fmt: skip
        return table.set_column(number, name, pa.array(rng.choice(columns)))
    values = table.column(number).to_pylist()
    odd = [None, *({str: ["", "x" * 3000, "a\nb", "\x1b[2J"], float: [float("nan"), float("inf"), -1.0, 1e30]}.get(
        type(values[0]), [-1, 99, 2**7 - 1]
    ))]  # fmt: skip
    values[rng.randrange(rows)] = rng.choice(odd)
    return table.set_column(number, name, pa.array(values, table.schema.field(number).type))


def write_changed_table(path: Path, rng: random.Random) -> None:
    """Change a Parquet file: its table, or, one time in four, its bytes."""
    if rng.random() < 0.25:
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice((1, 3, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))]))
        return
    pq.write_table(changed_table(pq.read_table(path), rng), path)


def changed_tensors(state: dict[str, Any], rng: random.Random) -> Any:
    """What a torch file may hold in place of a state dict."""
    import torch

    name = rng.choice(list(state))
    value = state[name]
    odd: list[Any] = [
        {**state, 7: value}, {**state, ("a", 1): value}, {**state, "\ud800": value}, {**state, "x\n" * 50: value},
        {k: v for k, v in state.items() if k != name}, {**state, name: None}, {**state, name: 10**400},
        {**state, name: float("nan")}, {**state, name: value.reshape(-1)[:1]}, {**state, name: value.long()},
        {**state, name: value.double() * float("nan")}, {**state, name: torch.zeros(0)}, {**state, name: {name: value}},
        {**state, name: value.to(torch.complex64)}, {"model": {"model": {"\ud800": value}}}, {"state_dict": {3: value}},
        [value], value, None, {}, {"state_dict": []}, {1: {2: value}}, 10**400, {"state_dict": {"state_dict": state}},
    ]  # fmt: skip
    return odd[rng.randrange(len(odd))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Bytes with some bits flipped, or cut."""
    made = np.frombuffer(data, np.uint8).copy()
    for _ in range(rng.choice((1, 3, 30))):
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return made.tobytes()[: rng.choice((len(made), len(made), rng.randrange(len(made))))]
