"""Bad inputs and bad luck: damaged files, killed processes. Used by `tests/faults` and `benchmarks/faults.py`."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from helpers.trees import picture, save
from PIL import Image

from dfad_bench.core.errors import IntegrityError, ManifestError
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_schema import STATUSES
from dfad_bench.ingest.build import BuildReport, build_manifest
from dfad_bench.ingest.check import check_manifest
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import crop_sample

FORMATS = ("JPEG", "PNG", "WEBP")
MUTATIONS = ("flip", "cut", "zero", "double", "header")
OPTIONS = ("--crop", "raw-256", "--shard-size", "2", "--quiet")  # of every build here


def mutant(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """`data` with bits flipped, an end cut off, a run zeroed, a piece doubled, or its first bytes changed."""
    raw = bytearray(data)
    place = int(rng.integers(0, len(raw)))
    length = int(rng.integers(1, max(2, len(raw) // 4)))
    if kind == "flip":
        for where in rng.integers(0, len(raw), int(rng.integers(1, 9))):
            raw[where] ^= 1 << int(rng.integers(0, 8))
    elif kind == "cut":
        del raw[place:]
    elif kind == "zero":
        raw[place : place + length] = bytes(len(raw[place : place + length]))
    elif kind == "double":
        raw[place:place] = raw[place : place + length]
    else:
        for where in rng.integers(0, min(64, len(raw)), 4):
            raw[where] = int(rng.integers(0, 256))
    return bytes(raw)


def mutants(number: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of `number` damaged images, formats and kinds of damage in turn."""
    rng = np.random.default_rng(seed)
    whole = {name: _encoded(picture(3, 96, 80), name) for name in FORMATS}
    for index in range(number):
        name, kind = FORMATS[index % 3], MUTATIONS[index // 3 % 5]
        yield f"{index:05d}-{kind}.{name.lower()}", mutant(whole[name], kind, rng)


def _encoded(array: np.ndarray, name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, name, **options)
    return stream.getvalue()


def hand_made(folder: Path) -> list[Path]:
    """Files nobody should send: bombs, foreign formats, odd colour modes, things that are no files."""
    folder.mkdir(parents=True, exist_ok=True)
    face = picture(1, 64, 64)
    made: dict[str, bytes] = {
        "empty.png": b"",
        "text.jpg": b"this is no image\n" * 40,
        "page.png": b"<html><body>404</body></html>",
        "one.png": _encoded(face[:1, :1], "PNG"),
        "line.png": _encoded(np.zeros((1, 4000, 3), np.uint8), "PNG"),
        "bomb.png": _png_header(30000, 30000),
        "wide.png": _png_header(2**31 - 1, 1),
        "none.png": _png_header(0, 0),
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "photoshop.png": b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 64, 64, 8, 3) + bytes(64),
        "stars.tif": b"SIMPLE  =                    T" + b" " * 2850,
        "playlist.jpg": b"#EXTM3U\nfile:///etc/passwd\n",
        "vector.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "gzip.png": zlib.compress(bytes(100000)),
        "riff.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40),
        "bitmap.bmp": b"BM" + struct.pack("<IHHIIiiHHII", 99, 0, 0, 54, 40, 50000, 50000, 1, 24, 0, 0) + bytes(24),
        "cut.jpg": _encoded(face, "JPEG")[:300],
        "good.jpg": _encoded(face, "JPEG"),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        made[f"exif-{orientation}.jpg"] = _encoded(face, "JPEG", exif=exif)
    made["exif-broken.jpg"] = _encoded(face, "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + bytes(9))
    for name, data in made.items():
        (folder / name).write_bytes(data)
    deep = Image.fromarray(picture(2, 64, 64)[..., 0].astype(np.uint16) * 257)
    deep.save(folder / "sixteen.png")
    for mode in ("CMYK", "L", "P", "1", "LA", "RGBA"):
        suffix = "tif" if mode == "CMYK" else "png"
        Image.fromarray(face).convert(mode).save(folder / f"mode-{mode.lower()}.{suffix}")
    frames = [Image.fromarray(picture(seed, 64, 64)) for seed in range(4)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    return sorted(folder.iterdir())


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def verdicts(files: list[Path]) -> dict[str, int]:
    """What becomes of each file, as counts by status; a crash, a hang over 5 s or a lost file is an error here."""
    cropper = FaceCropper(load_crop_profile("raw-256"))
    counts: dict[str, int] = {}
    for path in files:
        began = time.monotonic()
        rows = crop_sample(RawSample("extra", "flux", None, path.name, path), cropper, 60)
        assert time.monotonic() - began < 5, f"{path.name} took too long"
        assert len(rows) == 1, f"{path.name} gave {len(rows)} rows"
        [row] = rows
        assert row["status"] in STATUSES, row["status"]
        assert row["status"] == "ok" or row["reason"], f"{path.name} was refused without a reason"
        assert row["status"] != "worker_crash", f"{path.name}: {row['reason']}"
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return counts


def damaged_parts(folder: Path, number: int, seed: int) -> tuple[int, int]:
    """Of `number` damaged parts, how many check-manifest lets pass, and how many are read as other data than before."""
    manifest = Manifest.open(folder)
    frame = manifest.frame(status=None)
    crops = dict(manifest.images(manifest.frame()["sample_id"]))
    rng = np.random.default_rng(seed)
    passed = silent = 0
    for turn in range(number):
        path = manifest.parts[turn % len(manifest.parts)]
        data = path.read_bytes()
        damaged = mutant(data, MUTATIONS[turn % 5], rng)
        if damaged == data:
            continue
        path.write_bytes(damaged)
        try:
            check_manifest(folder)
            passed += 1
        except (IntegrityError, ManifestError):
            pass
        try:
            again = Manifest.open(folder)
            pd.testing.assert_frame_equal(again.frame(status=None), frame)
            assert dict(again.images(crops)) == crops
        except (IntegrityError, ManifestError):
            pass
        except AssertionError:
            silent += 1
        path.write_bytes(data)
    return passed, silent


def flat_tree(root: Path, number: int) -> Path:
    """`number` pictures of one generator, two parts' worth for every four."""
    for index in range(number):
        save(root / f"test/flux/{index:04d}.png", index)
    return root


def build_here(root: Path, out: Path, **options: Any) -> BuildReport:
    """The build of `OPTIONS` in this process."""
    return build_manifest("extra", root, out, **{"crop": "raw-256", "workers": 0, "shard_size": 2, **options})


def start_build(root: Path, out: Path, *options: str, workers: int = 2) -> subprocess.Popen[str]:
    """The same build as a process group of its own."""
    command = [sys.executable, "-m", "dfad_bench", "build-manifest", "--dataset", "extra", "--root", str(root)]
    command += ["--out", str(out), "--workers", str(workers), *OPTIONS, *options]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        preexec_fn=_heed_interrupts,
    )  # fmt: skip


def _heed_interrupts() -> None:
    """A shell's background job is born deaf to Ctrl-C, and so are its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def environment() -> dict[str, str]:
    """This process's, with its import path and one thread a process."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}


def parts(out: Path) -> int:
    """How many parts are committed."""
    return len(list(out.glob("part-*.json")))


def digests(out: Path) -> dict[str, str]:
    """Hashes of all files but the hidden ones (locks)."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def wait_for_parts(process: subprocess.Popen[str], out: Path, number: int, seconds: float = 60) -> bool:
    """Whether the build committed so many parts before it ended."""
    deadline = time.monotonic() + seconds
    while parts(out) < number:
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def kill_group(process: subprocess.Popen[str]) -> None:
    """`kill -9` of a process and all its children, where it has not ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def kill_builds(root: Path, out: Path, kills: int, seed: int = 0) -> int:
    """Begin a build and kill it, process group and all, until it was killed `kills` times.

    Returns how often it was making parts then.

    A third of the moments is drawn from the first seconds (imports, listing, pools), the rest while parts are made.
    A build that ends meanwhile loses its summary and some parts, so that there is always something to do.
    """
    rng = random.Random(seed)
    killed = at_work = 0
    while killed < kills:
        before = parts(out)
        process = start_build(root, out)
        if killed % 3 == 2:
            time.sleep(rng.uniform(0.2, 4))
        elif wait_for_parts(process, out, before + 1 + rng.randrange(4)):
            time.sleep(rng.uniform(0, 0.05))
            at_work += process.poll() is None  # and is killed next
        killed += process.poll() is None
        kill_group(process)
        if (out / "manifest.json").is_file():
            (out / "manifest.json").unlink()
            for path in sorted(out.glob("part-*.json"))[::2]:
                path.unlink()
    return at_work


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a build."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):  # not a process, or gone
            continue
    return found


def kill_workers(process: subprocess.Popen[str], out: Path, kills: int, seed: int = 0) -> int:
    """Kill one worker of a running build at a time, `kills` times at random moments; returns how many were."""
    rng = random.Random(seed)
    killed = 0
    while killed < kills and process.poll() is None:
        wait_for_parts(process, out, parts(out) + rng.randrange(3), seconds=20)
        time.sleep(rng.uniform(0, 0.05))
        workers = workers_of(process)
        if workers:
            try:
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                continue
    return killed
