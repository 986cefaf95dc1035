"""Videos nobody should send: damaged ones, playlists, pipes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from helpers.faults import MUTATIONS, mutant
from helpers.video_trees import clip

from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest


def bad_videos(folder: Path, number: int, seed: int = 0) -> list[Path]:
    """`number` damaged clips, and a few files that only call themselves videos."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    whole = clip(12, seed=0)
    for index in range(number):
        kind = MUTATIONS[index % len(MUTATIONS)]
        (folder / f"{index:05d}-{kind}.mp4").write_bytes(mutant(whole, kind, rng))
    secret = folder.parent / "secret.txt"
    secret.write_text("not to be read\n")
    made = {
        "empty.mp4": b"",
        "text.mp4": b"this is no video\n" * 50,
        "playlist.mp4": f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n".encode(),
        "list.avi": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "remote.mkv": b"http://127.0.0.1:9/video.mp4\n",
        "header.mp4": whole[:24],
        "boxes.mp4": b"\xff\xff\xff\xffmoov" * 200,
        "good.mp4": whole,
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.mp4")
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "folder.mp4").mkdir()
    return sorted(path for path in folder.iterdir() if not path.is_dir())


def video_verdicts(files: list[Path], out: Path) -> dict[str, int]:
    """What becomes of videos in a build with workers, as rows by status; a lost file or a died worker is an error."""
    folder = files[0].parent
    build_manifest("videos", folder, out, generator="flux", crop="raw-256", workers=2, frames=4, shard_size=64)
    rows = Manifest.open(out).frame(status=None)
    assert set(rows["origin"]) == {path.name for path in files}
    assert not rows["sample_id"].duplicated().any()
    assert (rows.loc[rows["origin"] == "good.mp4", "status"] == "ok").sum() == 4
    refused = rows[rows["status"] != "ok"]
    assert refused["reason"].str.len().gt(0).all()
    died = rows[rows["status"] == "worker_crash"]
    assert died.empty, died[["origin", "reason"]].to_string()
    counts: dict[str, int] = {str(name): int(n) for name, n in rows["status"].value_counts().items()}
    return counts
