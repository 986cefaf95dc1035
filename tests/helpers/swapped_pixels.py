"""Manifests whose pictures are not those of their rows, with every hash made again that stands beside them."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from click.testing import CliRunner
from helpers.toy import RECIPE, SEEN, SIDE, toy_face, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_evaluation, run_training
from PIL import Image

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import IntegrityError
from dfad_bench.data.images import encode_png
from dfad_bench.data.manifest import Manifest, commit_part, finish
from dfad_bench.engine.limits import Limits
from dfad_bench.ingest.check import check_manifest

Rows = list[dict[str, Any]]
PIXELS = toy_face("real", 0, 0)


def edited(manifest: Manifest, change: Callable[[Rows], None]) -> Manifest:
    """The manifest with its rows changed, and every hash made again: what somebody does who knows how."""
    names = [path.name for path in manifest.parts]
    sizes = [pq.read_metadata(path).num_rows for path in manifest.parts]
    rows = [row for path in manifest.parts for row in pq.read_table(path).to_pylist()]
    change(rows)
    shutil.rmtree(manifest.folder / "tables", ignore_errors=True)  # what was decoded from the pictures before
    for path, size in zip(manifest.parts, sizes, strict=True):
        path.unlink()
        commit_part(path, rows[:size], {})
        rows = rows[size:]
    return finish(manifest.folder, names, {"dataset": {"name": manifest.name}})


def png(pixels: np.ndarray = PIXELS, mode: str = "RGB", kind: str = "PNG") -> dict[str, Any]:
    """The image column of a row, encoded by Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return {"bytes": file.getvalue(), "path": None}


def claimed(side: int) -> dict[str, Any]:
    """A PNG whose header says that it is `side` pixels wide and high."""
    data = bytearray(encode_png(PIXELS))
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return {"bytes": bytes(data), "path": None}


def digest(pixels: np.ndarray) -> str:
    """As `crop_sha256` has it."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def rotate(rows: Rows) -> None:
    """Every row gets the picture of the next one; nothing else changes."""
    pictures = [row["image"] for row in rows]
    for row, picture in zip(rows, pictures[1:] + pictures[:1], strict=True):
        row["image"] = picture


def _bomb_of_stated_size(rows: Rows) -> None:
    rows[3] |= {"image": claimed(5000), "width": 5000, "height": 5000}


def _other_shape(rows: Rows) -> None:
    flat = _pixels(rows[3]).reshape(SIDE // 2, SIDE * 2, 3)  # the same bytes, and so the same hash
    rows[3]["image"] = png(flat)


def _pixels(row: dict[str, Any]) -> np.ndarray:
    with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
        return np.array(image)


def _grey(rows: Rows) -> None:
    grey = np.repeat(_pixels(rows[3])[:, :, :1], 3, axis=2)
    rows[3] |= {"image": png(grey, "L"), "crop_sha256": digest(grey)}


def _one_bit(rows: Rows) -> None:
    pixels = _pixels(rows[3])
    pixels[0, 0, 0] ^= 1
    rows[3]["image"] = png(pixels)


# what is done to the rows, and words of the answer
FORGED: dict[str, tuple[Callable[[Rows], None], str]] = {
    "pictures of the next row": (rotate, "the pixels are not those of its crop_sha256"),
    "one bit of one pixel": (_one_bit, "the pixels are not those of its crop_sha256"),
    "no picture": (lambda rows: rows[3].update(image=None), "status ok, and no picture"),
    "no bytes": (lambda rows: rows[3].update(image={"bytes": None, "path": "x"}), "status ok, and no picture"),
    "a stub": (lambda rows: rows[3].update(image={"bytes": b"\x89PNG", "path": None}), "no PNG of 8-bit RGB"),
    "nothing": (lambda rows: rows[3].update(image={"bytes": b"", "path": None}), "no PNG of 8-bit RGB"),
    "cut": (lambda rows: rows[3]["image"].update(bytes=rows[3]["image"]["bytes"][:200]), "does not decode"),
    "a JPEG": (lambda rows: rows[3].update(image=png(kind="JPEG")), "no PNG of 8-bit RGB"),
    "grey": (_grey, "no PNG of 8-bit RGB"),
    "a bomb": (lambda rows: rows[3].update(image=claimed(5000)), "5000x5000 pixels, at most 1024"),
    "a bomb as stated": (_bomb_of_stated_size, "no size from 1 to 4096"),
    "another shape": (_other_shape, f"{2 * SIDE}x{SIDE // 2} pixels, the row says {SIDE}x{SIDE}"),
    "no hash": (lambda rows: rows[3].update(crop_sha256=None), "no crop_sha256"),
    "no size": (lambda rows: rows[3].update(width=None), "no size"),
}


def use_forged(folder: Path, rounds: int, names: Sequence[str] = tuple(FORGED), seed: int = 6) -> tuple[int, list[str]]:
    """Forged manifests given to all that reads pictures; how many acts were tried, and those that were not refused.

    Each forgery comes in a test face, in the second round in a training face, and so on. A run was begun and another
    finished on the manifest as it was: resuming the first and evaluating the second must refuse as well.
    """
    rng, tried, faults = np.random.default_rng(seed), 0, []
    (folder / "whole").mkdir(parents=True)
    whole = toy_manifests(folder / "whole", identities=4)
    recipe = replace(RECIPE, epochs=1)
    with toys_registered():
        for name, limits in (("begun", Limits(max_steps=1)), ("trained", Limits())):
            run_training("toy", toy_protocol(), whole, folder / name, recipe=recipe, device="cpu", limits=limits)
        for turn in range(rounds):
            for name in names:
                change, words = FORGED[name]
                split = ("test", "train")[turn % 2]
                forged = [_copied(manifest, folder / "forged") for manifest in whole]
                edited(forged[0], lambda rows, change=change, split=split: _of_split(rows, split, change, rng))
                for what, act in _acts(folder, forged, recipe):
                    if split == "train" and what == "evaluate":
                        continue  # reads test faces only
                    tried += 1
                    if fault := _refused(act, words):
                        faults.append(f"{name}: {what}: {fault}")
                    for path in forged:
                        shutil.rmtree(path.folder / "tables", ignore_errors=True)
    return tried, faults


def _copied(manifest: Manifest, folder: Path) -> Manifest:
    shutil.rmtree(folder / manifest.folder.name, ignore_errors=True)
    return Manifest.open(Path(shutil.copytree(manifest.folder, folder / manifest.folder.name)))


def _of_split(rows: Rows, split: str, change: Callable[[Rows], None], rng: np.random.Generator) -> None:
    """Change rows of one split, in another order each time; they are the same objects.

    Training faces of generators that the protocol has as unseen ones are never read.
    """
    chosen = [row for row in rows if row["split"] == split and (split == "test" or row["generator"] in SEEN)]
    change([chosen[index] for index in rng.permutation(len(chosen))])


def _acts(folder: Path, manifests: list[Manifest], recipe: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    first = manifests[0].folder

    def opened() -> list[Manifest]:
        return [Manifest.open(manifest.folder) for manifest in manifests]

    def train(out: Path, **settings: Any) -> None:
        run_training("toy", toy_protocol(), opened(), out, recipe=recipe, device="cpu", **settings)

    def resume() -> None:
        shutil.rmtree(folder / "resumed", ignore_errors=True)
        train(Path(shutil.copytree(folder / "begun", folder / "resumed")))

    def anew(cache: str) -> None:
        shutil.rmtree(folder / "new", ignore_errors=True)
        train(folder / "new", cache=cache)

    yield "check-manifest --deep", lambda: check_manifest(first, deep=True)
    for cache in ("disk", "ram", "none"):
        yield f"train --cache {cache}", lambda cache=cache: anew(cache)
    yield "train, resumed", resume
    yield "evaluate", lambda: run_evaluation(folder / "trained", opened(), device="cpu")
    yield "gaze-extract", lambda: _command(["gaze-extract", "--manifest", str(first), "--quiet"])


def _command(words: list[str]) -> None:
    ended = CliRunner().invoke(dfad, words)
    if ended.exit_code == IntegrityError.exit_code and ended.stderr.startswith("Error: "):
        raise IntegrityError(ended.stderr.strip())
    raise AssertionError(f"exit code {ended.exit_code}: {ended.output[-200:]!r}")


def _refused(act: Callable[[], object], words: str) -> str | None:
    """What is wrong with how an act ended, or None: refused in one line that names the picture."""
    try:
        act()
    except IntegrityError as error:
        text = str(error)
        named = words in text and "part-0000" in text and ", row " in text
        named = named or "holds a run with other settings (manifests)" in text  # of rows that hash otherwise
        return None if named and "\n" not in text else f"says {text[:200]!r}"
    except Exception as error:  # whatever else it is, it is not a refusal
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "accepted"
