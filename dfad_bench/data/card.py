"""The dataset card of a manifest: `README.md`, for readers and for loaders of dataset folders (Hugging Face).

The `configs:` block names the parts; without it a loader would read the JSON files beside them as data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FILE = "README.md"
_OK = "ok"


def dataset_card(info: Mapping[str, Any]) -> str:
    """The card of a manifest from the content of its `manifest.json`: the same text for the same rows."""
    dataset = info["dataset"]
    title = str(dataset.get("title") or dataset["name"])
    blocks = [
        _front(title, parts=bool(info["parts"])),
        f"# {_one_line(title)}",
        f"{info['rows']:,} rows of faces, dataset `{dataset['name']}`, made by {info['tool']['name']} "
        f"{info['tool']['version']}, schema version {info['schema_version']}, "
        f"content sha256 `{info['content_sha256']}`.",
        _origin(dataset),
        _counts(info["counts"]),
        _crop(info.get("crop")),
        _use(),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _front(title: str, *, parts: bool) -> str:
    lines = ["---", f"pretty_name: {json.dumps(title, ensure_ascii=False)}", "license: other"]
    lines += ["task_categories: [image-classification]", "tags: [deepfake, face, forensics]"]
    if parts:
        # not called `train`: the parts hold the rows of every split, distinguished by the column
        lines += ["configs:", "  - config_name: default", "    data_files:"]
        lines += ["      - split: faces", '        path: "part-*.parquet"']
    return "\n".join([*lines, "---"])


def _origin(dataset: Mapping[str, Any]) -> str:
    titles = {"licence": "Licence of the source", "homepage": "Home", "citation": "Citation"}
    lines = [f"- {title}: {_one_line(str(dataset[key]))}" for key, title in titles.items() if dataset.get(key)]
    return "\n".join([*lines, "- The crops stay under the terms of their source."])


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    statuses = sorted({s for row in counts.values() for s in row}, key=lambda s: (s != _OK, s))
    lines = ["| generator | " + " | ".join(statuses) + " |", "|---|" + "---:|" * len(statuses)]
    lines += [
        f"| {generator} | " + " | ".join(f"{row.get(status, 0):,}" for status in statuses) + " |"
        for generator, row in sorted(counts.items())
    ]
    return "\n".join(lines) if counts else ""


def _crop(crop: Mapping[str, Any] | None) -> str:
    if not crop:
        return ""
    settings = ", ".join(
        f"{key} {value}" for key, value in sorted(crop.items()) if key not in ("name", "sha256") and value is not None
    )
    text = f"Crop profile `{crop.get('name')}` (sha256 `{str(crop.get('sha256'))[:16]}`): {settings}."
    return _one_line(text) + " Pixels are PNG, lossless; `box`, `crop_box` and `landmarks` are in source pixels."


def _use() -> str:
    return (
        "A refused image is a row without pixels: keep `status == 'ok'`. The column `split` says what the source calls "
        "train, val or test; `source_key` names what must not be torn apart between them.\n\n"
        "```python\n"
        "from datasets import load_dataset\n\n"
        'faces = load_dataset("this folder", split="faces")\n'
        "```"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")
