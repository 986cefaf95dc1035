"""Archives of a few drawn faces, and builds of a folder that holds them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from helpers.dataset_trees import draw

from dfad_bench.ingest.build import BuildReport, build_manifest

KINDS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")


def build(root: Path, out: Path, **options: Any) -> BuildReport:
    settings: dict[str, Any] = {"crop": "raw-256", "workers": 0, "shard_size": 4, **options}
    return build_manifest("extra", root, out, **settings)


def tree(root: Path, count: int = 6) -> Path:
    for index in range(count):
        draw(root / "flux" / f"{index:02d}.png", index)
    return root


def png(tmp_path: Path) -> bytes:
    return draw(tmp_path / "one.png").read_bytes()


def tar_of(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def entry(name: str, data: bytes = b"x", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data
