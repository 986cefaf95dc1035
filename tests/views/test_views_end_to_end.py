"""A toy image view and a toy string view, from manifest to loss, killed and resumed to the same bits."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers.toy import RECIPE, toy_manifests, toy_protocol
from helpers.train_faults import Forked, differing
from helpers.training import run_evaluation, run_robustness, run_training
from helpers.views import toy_views_registered

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json, sha256_file
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import read_config
from dfad_bench.engine.contract_checks.building import check_views
from dfad_bench.engine.contract_checks.forward import check_output, check_rows_independent
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.engine.fit import Limits
from dfad_bench.engine.job import RunResult
from dfad_bench.engine.profile import profile_model
from dfad_bench.views import provider, store
from dfad_bench.views.provider import ViewProvider

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.skipif(os.name == "nt", reason="needs fork")]
NAMES = ("synthetic", "synthetic-outdoor")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(provider, "BATCH", 8)
    monkeypatch.setattr(store, "PART_ROWS", 8)
    with toy_views_registered():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifests")
    toy_manifests(folder)
    return folder


def train(root: Path, out: Path, delay_s: float = 0.0, **options: object) -> RunResult:
    manifests = [Manifest.open(root / name) for name in NAMES]
    slow = {name: {"delay_s": delay_s} for name in ("toy_map", "toy_text", "toy_mask")}
    return run_training(
        "view_toy", toy_protocol(), manifests, out, recipe=replace(RECIPE, epochs=2), device="cpu",
        options=options, limits=Limits(checkpoint_steps=2), views=ViewProvider(manifests, slow),
    )  # fmt: skip


@pytest.fixture
def whole(root: Path, tmp_path: Path) -> Path:
    """The run nothing happened to, with its own manifests."""
    shutil.copytree(root, tmp_path / "whole")
    train(tmp_path / "whole", tmp_path / "whole" / "run")
    return tmp_path / "whole"


def killed(act: Callable[[], object], ready: Callable[[], bool]) -> None:
    """Run `act` in a fork and kill it with SIGKILL as soon as `ready`."""
    process, deadline = Forked(act), time.monotonic() + 120
    while not ready():
        assert process.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait(timeout=60) == -9


def stored(root: Path) -> dict[str, str]:
    """Hash of every stored view."""
    paths = [path for name in NAMES for path in (root / name / "tables").glob("toy_*.*") if path.is_file()]
    return {str(path.relative_to(root)): sha256_file(path) for path in paths if path.suffix != ".lock"}


@pytest.mark.heavy
def test_views_and_runs_killed_in_the_middle_end_with_the_same_bits(root: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "hurt")
    hurt, out = tmp_path / "hurt", tmp_path / "hurt" / "run"
    tables = hurt / NAMES[0] / "tables"

    def parts(view: str, suffix: str) -> list[Path]:
        return list(tables.glob(f"{view}-*.parts/0*{suffix}"))

    slow = lambda: train(hurt, out, 0.03)  # noqa: E731
    killed(slow, lambda: len(parts("toy_map", ".json")) >= 2)
    kept = {path: path.read_bytes() for path in parts("toy_map", ".json")}
    assert len(kept) >= 2
    assert not stored(hurt)
    killed(slow, lambda: len(parts("toy_text", ".parquet")) >= 2)
    assert {name.split("/")[-1].split("-")[0] for name in stored(hurt)} == {"toy_map"}
    killed(lambda: train(hurt, out, delay_s=0.0), lambda: any((out / "checkpoint").glob("step-*/state.json")))
    assert not (out / "run.json").exists()
    before = stored(hurt)
    assert train(hurt, out).status == "complete"
    assert stored(hurt) == before == stored(whole), "views were finished before training and are the same bytes"
    assert read_json(out / "run.json")["run"]["resumed"] >= 1
    assert differing(whole / "run", out) == []
    assert not [path for path in hurt.rglob("*") if path.name.endswith(".parts") or ".tmp" in path.name]


def test_what_an_interrupted_process_made_is_not_made_again(root: Path, tmp_path: Path, monkeypatch) -> None:
    """Committed parts are read, a damaged one is made again, and the bytes are those of an uninterrupted run."""
    from helpers.views import ToyMap, ToyText

    seen: dict[str, list[str]] = {"toy_map": [], "toy_text": []}
    for kind in (ToyMap, ToyText):
        plain = kind.make
        monkeypatch.setattr(
            kind,
            "make",
            lambda self, faces, plain=plain: (seen[self.name].extend(faces.sample_ids), plain(self, faces))[1],
        )
    shutil.copytree(root, tmp_path / "m")
    manifest = Manifest.open(tmp_path / "m" / NAMES[0])
    ids = manifest.frame(["sample_id"])["sample_id"].tolist()
    for view, suffix in (("toy_map", ".json"), ("toy_text", ".parquet")):
        tables = manifest.folder / "tables"
        killed(
            lambda view=view: ViewProvider([manifest], {view: {"delay_s": 0.02}}).source(view, ids, 32),
            lambda view=view, suffix=suffix, tables=tables: len(list(tables.glob(f"{view}-*.parts/0*{suffix}"))) >= 4,
        )
        parts = sorted(tables.glob(f"{view}-*.parts/0*{suffix}"))
        parts[0].write_bytes(parts[0].read_bytes()[:40])
        ViewProvider([manifest]).source(view, ids, 32)
        assert len(seen[view]) == len(set(seen[view])) == len(ids) - 8 * (len(parts) - 1)
        first = stored(tmp_path / "m")
        for path in tables.glob(f"{view}-*.*"):
            path.unlink()
        ViewProvider([manifest]).source(view, ids, 32)
        assert stored(tmp_path / "m") == first


@pytest.mark.heavy
def test_a_run_says_how_its_views_were_made_and_is_opened_with_the_same_only(whole: Path) -> None:
    manifests = [Manifest.open(whole / name) for name in NAMES]
    kept = read_config(whole / "run").views
    assert set(kept) == {"toy_map", "toy_text", "toy_level", "toy_mask"}
    assert kept["toy_map"].keys() == {"bright", "fingerprint"}
    facts = read_json(whole / "run" / "run.json")
    assert any("faces have no toy_map: " in warning for warning in facts["warnings"])
    result = run_evaluation(whole / "run", manifests, device="cpu", views=ViewProvider(manifests))
    a, b = (pd.read_parquet(folder / "predictions.parquet") for folder in (whole / "run", result.out))
    pd.testing.assert_frame_equal(a, b)
    other = ViewProvider(manifests, {"toy_map": {"bright": 90}})
    with pytest.raises(ConfigError, match="trained on toy_map from .*120.*, not .*90"):
        run_evaluation(whole / "run", manifests, device="cpu", views=other)
    both = {
        views_from: run_robustness(
            whole / "run", manifests, names=("contrast",), severities=(5,), device="cpu",
            views=ViewProvider(manifests), views_from=views_from,
        ).out for views_from in ("corrupted", "clean")
    }  # fmt: skip
    frames = {name: pd.read_parquet(out / "cells" / "contrast-5.parquet") for name, out in both.items()}
    assert not frames["corrupted"]["p_fake"].equals(frames["clean"]["p_fake"]), "the map of a dark face is empty"


def test_checks_and_profile_know_the_views() -> None:
    subject = Subject("view_toy")
    assert [check(subject) for check in (check_views, check_output, check_rows_independent)] == ["", "", ""]
    assert profile_model("view_toy", size="tiny").params_total > 0
