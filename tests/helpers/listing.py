"""A dataset file of one's own, a table of one's own, and listing a folder by them."""

from __future__ import annotations

from pathlib import Path

from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.listing import list_source
from dfad_bench.ingest.sources.spec import DatasetSpec, load_dataset_spec

SPEC = """
name: mine
version: 1
title: My faces
licence: mine
layout: folders
entries:
  - path: "{split}/{generator}/{who:word}_{shot:int}_by_{other}.{ext}"
    source_key: "mine:{who}"
    target: ["{split}/Pristine/{who}_{shot}.{ext}"]
    pair_confidence: 0.5
  - path: "{split}/{generator}/{who:word}_{shot:int}.{ext}"
    source_key: "mine:{who}"
generators: {Pristine: real, flux-dev: flux, swapped: simswap}
splits: {training: train}
skip: ["notes/{rest:path}"]
"""

TABLE = """
name: listed
version: 1
title: Listed
licence: mine
layout: table
table: {file: list.csv, path: "{where}", generator: "{who}", source_key: "k:{key}", where: {use: ["yes"]}}
"""


def listed(spec: DatasetSpec, root: Path) -> Listing:
    """The listing of a folder by a dataset file."""
    return list_source(spec, root)


def touch(root: Path, *names: str) -> None:
    """Files of one byte below `root`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def own(folder: Path, text: str = SPEC) -> DatasetSpec:
    """A dataset file of this text, read."""
    file = folder / f"{text.split('name: ')[1].split()[0]}.yaml"
    file.write_text(text)
    return load_dataset_spec(str(file))


def source_folder(folder: Path) -> Path:
    """An empty folder for files."""
    (folder / "data").mkdir()
    return folder / "data"
