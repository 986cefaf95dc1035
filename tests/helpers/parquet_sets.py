"""Parquet image sets as the Hugging Face hub keeps them, made without its library."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from helpers.trees import picture
from PIL import Image

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(seed: int, kind: str = "PNG", side: int = 48) -> bytes:
    """A picture as a file of a format."""
    out = io.BytesIO()
    Image.fromarray(picture(seed, side, side)).save(out, kind)
    return out.getvalue()


def class_label(*names: str) -> dict[str, Any]:
    """The feature of a class label with these names."""
    return {"_type": "ClassLabel", "names": list(names)}


def write_set(
    path: Path,
    pictures: Sequence[Any],
    columns: Mapping[str, Sequence[Any]],
    features: Mapping[str, Any] | None = None,
    *,
    kind: pa.DataType = PICTURE,
    group: int = 100,
    image: str = "image",
) -> Path:
    """One Parquet file. `features` are written into the schema's metadata; None writes none, as pandas does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {image: pa.array(list(pictures), kind), **{name: list(values) for name, values in columns.items()}}
    )
    if features is not None:
        said = {image: {"_type": "Image"}, **features}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": said}})})
    pq.write_table(table, path, row_group_size=group)
    return path


def rows(*seeds: int) -> list[dict[str, Any]]:
    """Pictures as structs of bytes and path."""
    return [{"bytes": encoded(seed), "path": f"{seed}.png"} for seed in seeds]
