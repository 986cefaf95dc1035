"""Writing a tree of synthetic faces in the layout of a source dataset, with its ground truth."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.files import atomic_path, atomic_write, read_json, sweep_temporaries, write_json
from dfad_bench.core.labels import ForgeryType
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.synthetic.faces import OUTDOOR, STUDIO, draw_face, plan_face
from dfad_bench.synthetic.generators import GENERATORS
from dfad_bench.synthetic.unseen_generators import ALL_GENERATORS, UNSEEN_GENERATORS

VERSION = 1  # of the images: raised when the same seed draws other pixels
SETTINGS_FILE = "synthetic.json"
TRUTH_FILE = "ground_truth.parquet"
_SILENT = NoProgress()
_RANGE = 2500  # most identities of a source within a split
_FIRST = {("train", STUDIO): 0, ("train", OUTDOOR): 2500, ("test", STUDIO): 5000, ("test", OUTDOOR): 7500}
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("generator", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("pitch_rad", pa.float64(), nullable=False),
        pa.field("yaw_rad", pa.float64(), nullable=False),
        pa.field("head_pitch_rad", pa.float64(), nullable=False),
        pa.field("head_yaw_rad", pa.float64(), nullable=False),
        pa.field("target", pa.string()),
        pa.field("gaze_kept", pa.float64(), nullable=False),
    ]
)


def synthesize(
    out: Path,
    *,
    per_group: int = 60,
    identities: int | None = None,
    test_share: float = 0.25,
    seed: int = 0,
    unseen: bool = False,
    progress: Progress = _SILENT,
) -> pd.DataFrame:
    """Draw `per_group` faces of each real source and each stand-in generator below `out`.

    Writes `<split>/<generator>/<stem>.png`, `synthetic.json` (the settings) and, last, `ground_truth.parquet`.
    Run again with the same settings, it draws what is missing. Every image depends on the seed and its path only.
    No identity is in both splits. `identities` is the number of people of a source over both splits; by default
    each has two images. With `unseen`, the stand-ins that are only ever tested are drawn instead: `per_group` test
    faces of each, by default of as many people, who are those of the test faces without it.

    Returns:
        The ground truth, a row per face: path, split, generator (the folder), identity, gaze and head angles in the
        camera frame, path of the real target (missing where there is none), and the degree to which the
        generator preserves gaze.

    Raises:
        ConfigError: an impossible number, or a folder made with other settings.
    """
    out = Path(out)
    settings = {
        "version": VERSION,
        "per_group": per_group,
        "identities": identities,
        "test_share": test_share,
        "seed": seed,
        **({"unseen": True} if unseen else {}),  # folders made before there was a choice have no such key
    }
    if unseen:
        paths = planned_unseen_paths(per_group=per_group, identities=identities)
    else:
        paths = planned_paths(per_group=per_group, identities=identities, test_share=test_share)
    _claim_folder(out, settings)
    _draw_missing(out, paths, seed, progress)
    truth = pd.DataFrame([asdict(plan_face(seed, path).truth) for path in paths])
    with atomic_path(out / TRUTH_FILE) as temporary:
        pq.write_table(pa.Table.from_pandas(truth, schema=_SCHEMA, preserve_index=False), temporary)
    return truth


def _draw_missing(out: Path, paths: list[str], seed: int, progress: Progress) -> None:
    progress.start("drawing faces", len(paths))
    try:
        for folder in sorted({(out / path).parent for path in paths}):
            folder.mkdir(parents=True, exist_ok=True)
            sweep_temporaries(folder)
        for path in paths:
            if not (out / path).is_file():
                _write_png(out / path, draw_face(seed, path)[0])
            progress.advance()
    finally:
        progress.finish()


def planned_paths(*, per_group: int, identities: int | None = None, test_share: float = 0.25) -> list[str]:
    """The relative path of every face, group by group.

    Raises:
        ConfigError: an impossible number.
    """
    counts = _split(per_group, test_share, "per_group", least=1)
    pools = _split(identities, test_share, "identities", least=1) if identities is not None else None
    paths = []
    for split, count in counts.items():
        people = min(pools[split], count) if pools else math.ceil(count / 2)
        if people > _RANGE:
            raise ConfigError(f"{people} {split} identities a source, more than {_RANGE}; choose a smaller number")
        for group in (STUDIO, OUTDOOR, *GENERATORS):
            first = _FIRST[split, OUTDOOR if group == OUTDOOR else STUDIO]
            paths += [f"{split}/{group}/{_stem(split, group, first, people, k)}.png" for k in range(count)]
    return paths


def planned_unseen_paths(*, per_group: int, identities: int | None = None) -> list[str]:
    """The relative path of every face of the stand-ins that are only tested, group by group.

    Raises:
        ConfigError: an impossible number.
    """
    for name, value in {"per_group": per_group, "identities": identities}.items():
        if value is not None and not 1 <= value <= _RANGE:
            raise ConfigError(f"{name} is {value}; of the unseen stand-ins it must be 1 to {_RANGE}")
    people, first = min(identities or per_group, per_group), _FIRST["test", STUDIO]
    return [
        f"test/{group}/{_stem('test', group, first, people, k)}.png"
        for group in UNSEEN_GENERATORS
        for k in range(per_group)
    ]


def _stem(split: str, group: str, first: int, people: int, k: int) -> str:
    number, shot = first + k % people, k // people
    stem = f"id{number:04d}_{shot:02d}"
    if group not in ALL_GENERATORS or ALL_GENERATORS[group].forgery is ForgeryType.EFS:
        return stem
    digest = hashlib.sha256(f"{split} {group} {stem}".encode()).digest()
    step = 1 + int.from_bytes(digest[:4], "little") % max(people - 1, 1)
    return f"{stem}_by_id{first + (number - first + step) % max(people, 2):04d}"


def _split(total: int, test_share: float, name: str, least: int) -> dict[str, int]:
    if not 0.0 < test_share < 1.0:
        raise ConfigError(f"test_share is {test_share}; it must lie between 0 and 1")
    if total < 2 * least:
        raise ConfigError(f"{name} is {total}; train and test need at least {least} each, so {2 * least} or more")
    test = min(max(round(total * test_share), least), total - least)
    return {"train": total - test, "test": test}


def _claim_folder(out: Path, settings: Mapping[str, object]) -> None:
    file = out / SETTINGS_FILE
    if file.is_file():
        found = read_json(file)
        if found != settings:
            old = found if isinstance(found, dict) else {}
            names = dict.fromkeys([*settings, *map(str, old)])
            other = ", ".join(f"{key} {quoted(old.get(key))}" for key in names if old.get(key) != settings.get(key))
            raise ConfigError(f"{out}: made with other settings ({other}); use these, or another folder")
    elif out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise ConfigError(f"{out}: not empty and without {SETTINGS_FILE}; choose an empty or a new folder")
    elif out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: a file; choose a folder")
    else:
        write_json(file, settings)


def _write_png(path: Path, image: np.ndarray) -> None:
    import cv2

    # Run lengths only: noisy images hardly compress, and the default strategy takes twice the time.
    how = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), how)[1]
    with atomic_write(path) as handle:
        handle.write(encoded.tobytes())
