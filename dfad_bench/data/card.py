"""The dataset card of a manifest: `README.md`, for readers and for loaders of dataset folders (Hugging Face).

The `configs:` block names the parts; without it a loader would read the JSON files beside them as data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dfad_bench.core.escape import markdown, markdown_code, yaml_scalar

FILE = "README.md"
_OK = "ok"
_ADDRESS = re.compile(r"https?://[\w.~:/?#%=&+-]+", re.ASCII)


def dataset_card(info: Mapping[str, Any]) -> str:
    """The card of a manifest from the content of its `manifest.json`: the same text for the same rows."""
    dataset = info["dataset"]
    title = str(dataset.get("title") or dataset["name"])
    name, tool = markdown_code(str(dataset["name"])), info["tool"]
    blocks = [
        _front(title, parts=bool(info["parts"])),
        f"# {markdown(title)}",
        f"{info['rows']:,} rows of faces, dataset {name}, made by {tool['name']} {tool['version']}, "
        f"schema version {info['schema_version']}, content sha256 `{info['content_sha256']}`.",
        _origin(dataset),
        _counts(info["counts"]),
        _crop(info.get("crop")),
        _use(),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _front(title: str, *, parts: bool) -> str:
    lines = ["---", f"pretty_name: {yaml_scalar(title)}", "license: other"]
    lines += ["task_categories: [image-classification]", "tags: [deepfake, face, forensics]"]
    if parts:
        # not called `train`: the parts hold the rows of every split, distinguished by the column
        lines += ["configs:", "  - config_name: default", "    data_files:"]
        lines += ["      - split: faces", '        path: "part-*.parquet"']
    return "\n".join([*lines, "---"])


def _origin(dataset: Mapping[str, Any]) -> str:
    titles = {"licence": "Licence of the source", "homepage": "Home", "citation": "Citation"}
    lines = [f"- {title}: {_address_or_text(str(dataset[key]))}" for key, title in titles.items() if dataset.get(key)]
    return "\n".join([*lines, "- The crops stay under the terms of their source."])


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    statuses = sorted({s for row in counts.values() for s in row}, key=lambda s: (s != _OK, s))
    lines = ["| generator | " + " | ".join(map(markdown, statuses)) + " |", "|---|" + "---:|" * len(statuses)]
    lines += [
        f"| {markdown(generator)} | " + " | ".join(f"{row.get(status, 0):,}" for status in statuses) + " |"
        for generator, row in sorted(counts.items())
    ]
    return "\n".join(lines) if counts else ""


def _crop(crop: Mapping[str, Any] | None) -> str:
    if not crop:
        return ""
    settings = ", ".join(
        f"{key} {value}" for key, value in sorted(crop.items()) if key not in ("name", "sha256") and value is not None
    )
    name, sha256 = (markdown_code(text) for text in (str(crop.get("name")), str(crop.get("sha256"))[:16]))
    text = f"Crop profile {name} (sha256 {sha256}): {markdown(settings)}."
    return text + " Pixels are PNG, lossless; `box`, `crop_box` and `landmarks` are in source pixels."


def _use() -> str:
    return (
        "A refused image is a row without pixels: keep `status == 'ok'`. The column `split` says what the source calls "
        "train, val or test; `source_key` names what must not be torn apart between them.\n\n"
        "```python\n"
        "from datasets import load_dataset\n\n"
        'faces = load_dataset("this folder", split="faces")\n'
        "```"
    )


def _address_or_text(text: str) -> str:
    """A web address stays a link whose text is the address itself, so that it cannot mislead."""
    return f"<{text}>" if _ADDRESS.fullmatch(text) else markdown(text)
