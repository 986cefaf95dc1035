"""Several builds at once: in one folder one of them builds; as shards on several hosts they make it together."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock
from helpers.faults import build_here, digests, flat_tree, start_build
from helpers.trees import save

from dfad_bench.core.errors import ConfigError, IntegrityError, ManifestError
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.check import check_manifest
from dfad_bench.ingest.merge import merge_manifests, seal_shards
from dfad_bench.ingest.plan import parse_shard


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return flat_tree(tmp_path / "root", 24)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of such a folder, built at once."""
    folder = tmp_path_factory.mktemp("sharing")
    build_here(flat_tree(folder / "root", 24), folder / "whole")
    return folder / "whole"


def race(root: Path, out: Path, number: int, *options: str) -> None:
    started = [start_build(root, out, *options, workers=1) for _ in range(number)]
    ended = [(process.communicate(timeout=200)[1], process.returncode) for process in started]
    assert any(code == 0 for _, code in ended), ended
    for error, code in ended:
        assert code == 0 or (code == 1 and "another build is writing here; wait for it" in error), error
        assert error.count("\n") <= 1


@pytest.mark.heavy
def test_two_builds_at_once(root: Path, whole: Path, tmp_path: Path):
    race(root, tmp_path / "m", 2)
    assert digests(tmp_path / "m") == digests(whole)


@pytest.mark.slow
def test_eight_builds_at_once(root: Path, whole: Path, tmp_path: Path):
    for turn in range(3):
        race(root, tmp_path / f"m{turn}", 8)
        assert digests(tmp_path / f"m{turn}") == digests(whole)


@pytest.mark.heavy
def test_four_hosts_make_one_manifest(root: Path, whole: Path, tmp_path: Path):
    out = tmp_path / "m"
    started = [start_build(root, out, "--shard", f"{index}/4", workers=0) for index in range(4)]
    for process in started:
        _, error = process.communicate(timeout=200)
        assert process.returncode == 0, error
    assert digests(out) == digests(whole)
    check_manifest(out)


def test_the_last_shard_seals_whatever_the_order(root: Path, whole: Path, tmp_path: Path):
    out = tmp_path / "m"
    reports = [
        build_here(root, out, shard=(index, 3), engine=engine) for index, engine in ((2, "serial"), (0, "processes"))
    ]
    assert [report.parts_missing for report in reports] == [8, 4]
    assert reports[1].rows == 16
    assert reports[1].manifest_sha256 == ""
    assert "8 of 12 parts are present" in reports[1].notes[0]
    assert not (out / "manifest.json").exists()
    with pytest.raises(ManifestError, match=r"4 of 12 parts are missing or damaged \(part-00001.parquet"):
        seal_shards(out)
    last = build_here(root, out, shard=(1, 3))
    assert (last.parts_built, last.parts_missing, last.manifest_sha256) == (4, 0, Manifest.open(whole).sha256)
    assert digests(out) == digests(whole)
    assert seal_shards(out).manifest_sha256 == Manifest.open(whole).sha256  # done already


def test_a_stopped_last_shard_is_sealed_by_merge(
    root: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from dfad_bench.ingest.plan import Plan

    build_here(root, tmp_path / "m", shard=(0, 2))
    with monkeypatch.context() as patched:
        patched.setattr(Plan, "missing_parts", lambda self, folder: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_here(root, tmp_path / "m", shard=(1, 2))
    assert seal_shards(tmp_path / "m").parts == 12
    assert digests(tmp_path / "m") == digests(whole)


@pytest.mark.heavy
def test_any_mixture_resumes_any_run(root: Path, whole: Path, tmp_path: Path):
    out = tmp_path / "m"
    build_here(root, out, shard=(1, 4))
    assert build_here(root, out, engine="serial").parts_kept == 3
    assert digests(out) == digests(whole)
    (out / "part-00005.parquet").write_bytes(b"")
    assert build_here(root, out, shard=(0, 4)).parts_missing == 1
    assert build_here(root, out, shard=(1, 4), workers=1).parts_built == 1
    assert digests(out) == digests(whole)


def test_hosts_that_see_other_files_are_refused(root: Path, tmp_path: Path):
    build_here(root, tmp_path / "m", shard=(0, 2))
    save(root / "test/flux/new.png", 77)
    with pytest.raises(IntegrityError, match="another shard lists other files in the source"):
        build_here(root, tmp_path / "m", shard=(1, 2))
    build_here(root, tmp_path / "m")
    assert not (tmp_path / "m/plan.json").exists()


def test_shards_and_whole_builds_keep_apart(root: Path, tmp_path: Path):
    out = tmp_path / "m"
    out.mkdir()
    with FileLock(out / ".build-1-of-4.lock"):
        with pytest.raises(ConfigError, match="another build is writing here"):
            build_here(root, out)
        with pytest.raises(ConfigError, match="another build is writing here"):
            build_here(root, out, shard=(1, 4))
        assert build_here(root, out, shard=(2, 4)).parts_built == 3
        with pytest.raises(ConfigError, match="another build is writing here"):
            seal_shards(out)


@pytest.mark.parametrize("text", ["4/4", "5/4", "-1/4", "1", "a/b", "0/0", "1/2/3"])
def test_shards_that_make_no_sense(text: str):
    with pytest.raises(ConfigError, match="expected I/N with I from 0 to N-1"):
        parse_shard(text)


def two_manifests(tmp_path: Path) -> list[Path]:
    for name, start in (("a", 0), ("b", 100)):
        for index in range(5):
            save(tmp_path / f"root-{name}/test/flux/{start + index}.png", start + index)
        build_here(tmp_path / f"root-{name}", tmp_path / name)
    return [tmp_path / "a", tmp_path / "b"]


def test_manifests_of_two_folders_become_one(tmp_path: Path):
    folders = two_manifests(tmp_path)
    together = tmp_path / "root-all"
    for name in ("a", "b"):
        for path in (tmp_path / f"root-{name}/test/flux").iterdir():
            save(together / "test/flux" / path.name, int(path.stem))
    whole = build_here(together, tmp_path / "whole")
    report = merge_manifests(folders, tmp_path / "m")
    assert (report.counts, report.manifest_sha256) == ({"flux": {"ok": 10}}, whole.manifest_sha256)
    assert len(dict(Manifest.open(tmp_path / "m").images(Manifest.open(tmp_path / "m").frame()["sample_id"]))) == 10
    check_manifest(tmp_path / "m")
    before = digests(tmp_path / "m")
    assert merge_manifests(folders, tmp_path / "m") == report
    merge_manifests(folders[::-1], tmp_path / "other")
    assert digests(tmp_path / "m") == digests(tmp_path / "other") == before
    with pytest.raises(IntegrityError, match="parts of another manifest"):
        build_here(together, tmp_path / "m")


def test_joining_refuses_what_does_not_fit(tmp_path: Path):
    first, second = two_manifests(tmp_path)
    with pytest.raises(ConfigError, match="two or more different manifests"):
        merge_manifests([first, first], tmp_path / "m")
    with pytest.raises(ConfigError, match="is one of the manifests to join"):
        merge_manifests([first, second], second)
    save(tmp_path / "root-b/test/flux/0.png", 0)
    build_here(tmp_path / "root-b", tmp_path / "c")
    with pytest.raises(ManifestError, match=r"1 faces are in more than one of the manifests \([0-9a-f]{16} in "):
        merge_manifests([first, tmp_path / "c"], tmp_path / "m")
    build_here(tmp_path / "root-b", tmp_path / "d", limit=2)
    with pytest.raises(ConfigError, match="limit differs"):
        merge_manifests([first, tmp_path / "d"], tmp_path / "m")
    with pytest.raises(IntegrityError, match="holds another manifest"):
        merge_manifests([first, second], tmp_path / "d")
    assert not (tmp_path / "m").exists()
    part = second / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="part-00000.parquet: damaged or changed"):
        merge_manifests([first, second], tmp_path / "m")


def test_a_stopped_join_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dfad_bench.ingest import merge

    folders = two_manifests(tmp_path)
    merge_manifests(folders, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(merge, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            merge_manifests(folders, tmp_path / "m")
    assert not (tmp_path / "m/manifest.json").exists()
    build_here(tmp_path / "root-a", tmp_path / "c", shard_size=1)
    with pytest.raises(IntegrityError, match="other manifests were being joined here"):
        merge_manifests([folders[1], tmp_path / "c"], tmp_path / "m")
    merge_manifests(folders, tmp_path / "m")
    assert digests(tmp_path / "m") == digests(tmp_path / "whole")
