"""Files of a finished manifest that rot: `check-manifest` names each, and nothing damaged is read as other data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.faults import build_here, damaged_parts, digests, flat_tree

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import IntegrityError, ManifestError
from dfad_bench.ingest.check import check_manifest


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rest")
    root = flat_tree(folder / "root", 12)
    (root / "test/flux/bad.png").write_bytes(b"no image")
    build_here(root, folder / "m", shard_size=5)
    return folder / "m"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "m"))


def artefacts(folder: Path) -> list[Path]:
    return [folder / name for name in digests(folder)]


def test_what_a_manifest_consists_of(whole: Path):
    parts = [f"part-0000{k}.{suffix}" for k in range(3) for suffix in ("json", "parquet")]
    assert sorted(path.name for path in artefacts(whole)) == sorted(
        [*parts, "README.md", "build.json", "manifest.json"]
    )


def test_one_changed_byte_in_any_file_is_named_with_exit_code_4(folder: Path):
    rng = np.random.default_rng(0)
    for path in artefacts(folder):
        data = path.read_bytes()
        for place in rng.integers(0, len(data), 20):
            damaged = bytearray(data)
            damaged[place] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(bytes(damaged))
            with pytest.raises(IntegrityError, match=path.name) as error:
                check_manifest(folder)
            assert "\n" not in str(error.value)
        result = CliRunner().invoke(dfad, ["check-manifest", "--manifest", str(folder)])
        assert result.exit_code == 4, path.name
        assert path.name in result.stderr
        path.write_bytes(data)
    check_manifest(folder)


def test_a_missing_file_is_named(folder: Path):
    for path in artefacts(folder):
        data = path.read_bytes()
        path.unlink()
        with pytest.raises((IntegrityError, ManifestError), match=path.name):
            check_manifest(folder)
        path.write_bytes(data)


def test_no_damaged_part_is_read_as_other_data(folder: Path):
    assert damaged_parts(folder, 25, seed=0) == (0, 0)


@pytest.mark.slow
def test_no_damaged_part_of_three_thousand_is_read_as_other_data(folder: Path):
    assert damaged_parts(folder, 3000, seed=1) == (0, 0)
