"""Runs that may be entries of the leaderboards, made of random predictions without training, and forgeries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from helpers.runs import resealed, run_facts
from helpers.toy import toy_predictions

from dfad_bench.core.files import sha256_file, write_json, write_packed_json
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.record import ResultRecord, plain, read_record
from dfad_bench.core.run_folder import PACKED_RECORD
from dfad_bench.core.run_parquet import write_predictions, write_selection
from dfad_bench.core.strict import read_yaml
from dfad_bench.data.select import rows_hash
from dfad_bench.engine.config import config_from
from dfad_bench.report.entries.entry import stated_facts
from dfad_bench.report.run_record import build_record

CONFIG = Path(__file__).parents[1] / "fixtures" / "earlier_run" / "config.yaml"
FACES = 6  # a group


def entry_run(folder: Path, seed: int = 0, *, draw: int | None = None, **changes: Any) -> ResultRecord:
    """A finished run of Xception under the protocol `synthetic`, with its `facts-only` row and its selected faces."""
    protocol = load_protocol("synthetic")
    folder.mkdir(parents=True, exist_ok=True)
    frame = _plain_names(toy_predictions(protocol, FACES, seed if draw is None else draw))
    digest = write_predictions(folder / "predictions.parquet", frame)
    write_predictions(folder / "facts-only.parquet", _plain_names(toy_predictions(protocol, FACES, 1000)))
    rows = frame[["sample_id", "group", "source_key", "attribution_label", "detection_label"]]
    rows = rows.assign(part="test", crop_sha256="ab" * 32)
    write_selection(folder / "selection.parquet", rows)
    names = ("facts-only.parquet", "selection.parquet")
    facts = run_facts(protocol, frame, digest)
    facts["run"] |= {
        "references": {"facts-only": {"path": names[0], "facts": ["source_width"], "fitted_on": 9, "lacking": 0}},
        "files": {name: sha256_file(folder / name) for name in names},
        **_settings(protocol, seed),
    }  # fmt: skip
    facts["protocol"]["version"] = str(protocol.version)
    facts["manifest"]["splits"]["test"]["content_sha256"] = rows_hash(rows)
    facts["model"] |= {"name": "xception", "display": "Xception", "checkpoint_sha256": "c" * 64, "size": "tiny"}
    facts["warnings"] = ["one pair of faces looks alike"]
    for name, value in changes.items():
        part, _, key = name.partition("__")
        facts[part] = {**facts[part], key: value} if key else value
    write_json(folder / "run.json", facts)
    return build_record(folder, resamples=50)


def _settings(protocol: Protocol, seed: int) -> dict[str, Any]:
    config = {**read_yaml(CONFIG), "seed": seed, "protocol_sha256": protocol.sha256, "stage_values": None}
    del config["stage_values"]
    return {"seed": seed, "config": config, "config_sha256": config_from(config, "test").sha256}


def _plain_names(frame: pd.DataFrame) -> pd.DataFrame:
    order = ["sample_id", "group", "source_key", "attribution_label", "detection_label"]
    frame = frame.assign(sample_id=frame["sample_id"].str.replace("#", "-"))
    return frame[[*order, *(name for name in frame if name not in order)]]


def only_entry(root: Path) -> Path:
    """The folder of the one entry below a root."""
    (found,) = root.glob("*/*/*/seed-*")
    return found


def copy_of(root: Path, folder: Path) -> Path:
    """A copy of all entries, to be forged."""
    shutil.copytree(root, folder, symlinks=True)
    return folder


def forged_record(entry: Path, changes: dict[Any, Any], *, stated: bool = True) -> None:
    """Change a record of an entry, seal it again, and let `entry.json` state the new numbers: a careful forger."""
    record = resealed(read_record(entry / PACKED_RECORD), changes)
    write_packed_json(entry / PACKED_RECORD, plain(record))
    if stated:
        forged_entry(entry, lambda raw: raw.update(plain(stated_facts(record))))


def forged_entry(entry: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change an `entry.json`."""
    path = entry / "entry.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    change(raw)
    write_json(path, raw)
