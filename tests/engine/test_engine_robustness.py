from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.toy import RECIPE, SEEN, SIDE, UNSEEN, toy_protocol, toy_rows, toys_registered
from helpers.training import run_evaluation, run_robustness, run_training
from helpers.views import made_up

from dfad_bench.core.errors import ConfigError, DFADError, ProtocolError, UnknownNameError
from dfad_bench.core.files import read_json, sha256_file
from dfad_bench.core.protocol import CorruptionPlan
from dfad_bench.data.corruptions import stream
from dfad_bench.data.corruptions.spec import corrupt, corruptions
from dfad_bench.data.corruptions.stream import CorruptedFaces, Workers
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.images import decode_crop, encode_png
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.select import select
from dfad_bench.engine import checkpoint
from dfad_bench.engine.robustness import RobustnessResult, planned
from dfad_bench.report.robustness.scores import build_robustness

SHORT = replace(RECIPE, epochs=1)
NAMES = ("gaussian_noise", "jpeg")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(manifests: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "toy"
    run_training("toy", toy_protocol(), manifests, out, recipe=SHORT, device="cpu")
    return out


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The trained run without evaluations."""
    import shutil

    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations"))
    return tmp_path / "run"


def evaluate(run: Path, manifests: list[Manifest], **changes: object) -> RobustnessResult:
    settings = {"names": NAMES, "severities": (1, 5), "device": "cpu", **changes}
    return run_robustness(run, manifests, **settings)  # type: ignore[arg-type]


def cells(result: RobustnessResult) -> dict[tuple[str, int], pd.DataFrame]:
    frame = pd.read_parquet(result.out / "predictions.parquet")
    return {(str(name), int(level)): rows for (name, level), rows in frame.groupby(["corruption", "severity"])}


@pytest.mark.heavy
def test_every_cell_is_the_model_on_corrupted_crops(copy: Path, manifests: list[Manifest]) -> None:
    result = evaluate(copy, manifests)
    found = cells(result)
    assert set(found) == {("none", 0), *((name, level) for name in NAMES for level in (1, 5))}
    model = toy_model(copy)
    crops = {k: decode_crop(png) for m in manifests for k, png in m.images(set(m.frame(["sample_id"])["sample_id"]))}
    for (name, level), rows in found.items():
        assert rows["sample_id"].tolist() == found["none", 0]["sample_id"].tolist()
        images = [
            crops[k] if level == 0 else corrupt(crops[k], corruptions()[name], level, sample_id=k)
            for k in rows["sample_id"]
        ]
        with torch.no_grad():
            from dfad_bench.core.contract import Inputs

            output = model(Inputs(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255))
        expected = output.attribution_logits.softmax(1)
        assert np.allclose(rows[["p_0", "p_1", "p_2"]], expected, atol=1e-5)
        assert np.allclose(rows["p_fake"], output.detection_logits.softmax(1)[:, 1], atol=1e-5)
    clean = run_evaluation(copy, manifests, device="cpu")
    assert clean.out == result.evaluation
    predictions = pd.read_parquet(clean.out / "predictions.parquet")
    assert np.array_equal(predictions["p_fake"], found["none", 0]["p_fake"])


def toy_model(run: Path) -> torch.nn.Module:
    from helpers.toy import Toy, ToyConfig

    model = Toy(3, ToyConfig())
    model.load_state_dict(checkpoint.load_finished(run / "checkpoint"))
    return model.eval()


@pytest.mark.heavy
def test_processes_make_the_same_cells(copy: Path, manifests: list[Manifest], tmp_path: Path) -> None:
    alone = evaluate(copy, manifests)
    before = sha256_file(alone.out / "predictions.parquet")
    for path in (alone.out / "cells").iterdir():
        path.unlink()
    together = evaluate(copy, manifests, workers=2, keep_images=tmp_path / "kept")
    assert together.made == together.cells == 4
    assert sha256_file(together.out / "predictions.parquet") == before
    samples = cells(together)["none", 0]["sample_id"]
    for sample in samples[:3]:
        png = (tmp_path / "kept" / "jpeg-5" / f"{sample}.png").read_bytes()
        original = next(decode_crop(p) for m in manifests if (p := dict(m.images(_known(m, sample))).get(sample)))
        assert np.array_equal(decode_crop(png), corrupt(original, corruptions()["jpeg"], 5, sample_id=sample))
    assert len(list((tmp_path / "kept" / "gaussian_noise-1").iterdir())) == len(samples)


def _known(manifest: Manifest, sample: str) -> set[str]:
    return {sample} & set(manifest.frame(["sample_id"])["sample_id"])


@pytest.mark.heavy
def test_finished_cells_are_kept_and_damaged_ones_made_again(copy: Path, manifests: list[Manifest]) -> None:
    first = evaluate(copy, manifests)
    whole = sha256_file(first.out / "predictions.parquet")
    assert (first.made, evaluate(copy, manifests).made) == (4, 0)
    (first.out / "cells" / "jpeg-5.parquet").write_bytes(b"damaged")
    assert evaluate(copy, manifests).made == 1
    assert sha256_file(first.out / "predictions.parquet") == whole
    more = evaluate(copy, manifests, names=("blur",), severities=(2,))
    assert (more.made, more.out) == (1, first.out)
    assert set(cells(more)) == {("none", 0), ("blur", 2), *((name, level) for name in NAMES for level in (1, 5))}
    other = evaluate(copy, manifests, names=("jpeg",), seed=1)
    assert other.out != first.out, "another seed is another grid"


def test_own_severities_do_not_take_over_cells_of_other_strengths(
    copy: Path, manifests: list[Manifest], tmp_path: Path
) -> None:
    evaluate(copy, manifests, names=("jpeg",), severities=(1,))
    own = "version: 1\ncorruptions:\n  jpeg: {title: J, values: [15], meaning: m, paper_exact: false, source: s}\n"
    (tmp_path / "own.yaml").write_text(own)
    result = evaluate(copy, manifests, names=("all",), severities=None, file=tmp_path / "own.yaml")
    assert (result.made, result.cells) == (1, 1)
    (about,) = read_json(result.out / "settings.json")["corruptions"]
    assert about["values"] == {"1": 15.0}


def test_crops_are_corrupted_before_they_are_resized(copy: Path, manifests: list[Manifest]) -> None:
    own = evaluate(copy, manifests, names=("block_wise",))
    assert any("block_wise changes nothing at 32 pixels" in warning for warning in own.warnings)
    found = cells(own)
    assert np.array_equal(found["block_wise", 5]["p_fake"], found["none", 0]["p_fake"])
    large = evaluate(copy, manifests, names=("block_wise",), corrupt_at=256)
    assert large.out != own.out
    assert read_json(large.out / "settings.json")["corrupt_at"] == 256
    assert not any("changes nothing" in warning for warning in large.warnings)
    found = cells(large)
    assert not np.allclose(found["block_wise", 5]["p_fake"], found["none", 0]["p_fake"], atol=1e-4)


def test_rows_in_any_order_are_the_same_faces(manifests: list[Manifest]) -> None:
    rows = select(toy_protocol(), manifests).tested
    store = CropStore.open(rows, manifests, SIDE)
    with Workers(0) as nobody:
        faces = CorruptedFaces(rows, store, toy_protocol(), corruptions()["jpeg"], 3, workers=nobody)
        ordered = torch.cat(
            [faces.inputs(np.arange(k, min(k + 7, len(faces)))).images for k in range(0, len(faces), 7)]
        )
        mixed = np.random.default_rng(0).permutation(len(faces))
        assert torch.equal(faces.inputs(mixed).images, ordered[torch.from_numpy(mixed)])


@pytest.mark.parametrize("views_from", ["corrupted", "clean"])
def test_gaze_comes_from_the_corrupted_crop_unless_asked_otherwise(
    views_from: str, manifests: list[Manifest], tmp_path: Path
) -> None:
    seen: list[tuple[int, float]] = []

    def angles(samples: Sequence[str], crops: np.ndarray | None) -> np.ndarray:
        if crops is None:
            return np.tile([0.1, 0.2], (len(samples), 1))
        seen.extend((crops.shape[1], float(crop.mean())) for crop in crops)
        return np.tile([0.5, np.nan], (len(samples), 1))

    views = made_up(manifests, angles, identity={"estimator": "toy", "weights": None})
    run_training("gaze_toy", toy_protocol(), manifests, tmp_path / "run", recipe=SHORT, device="cpu", views=views)
    result = evaluate(tmp_path / "run", manifests, names=("contrast",), views=views, views_from=views_from)
    warned = [warning for warning in result.warnings if "have no gaze: nothing is added" in warning]
    if views_from == "clean":
        assert not seen
        assert not warned
    else:
        faces = len(cells(result)["none", 0])
        assert len(seen) == 2 * faces
        assert {side for side, _ in seen} == {SIDE}
        assert np.mean([light for _, light in seen[:faces]]) > 1.5 * np.mean([light for _, light in seen[faces:]])
        assert warned[0].startswith(f"contrast 1: {faces} of {faces}")
    fixed = made_up(manifests, angles, identity={"estimator": "toy", "weights": None}, live=False)
    with pytest.raises(ConfigError, match="'gaze' of corrupted faces, and nothing makes it"):
        evaluate(tmp_path / "run", manifests, views=fixed)
    other = made_up(manifests, angles, identity={"estimator": "another", "weights": None})
    with pytest.raises(ConfigError, match="trained on gaze from .*toy.*, not .*another"):
        evaluate(tmp_path / "run", manifests, views=other)


def test_a_plan_decides_what_all_means_and_what_is_whole(copy: Path, manifests: list[Manifest]) -> None:
    plan = CorruptionPlan(("jpeg", "blur"), (1, 2))
    protocol = replace(toy_protocol(), name="toy-robustness", corruptions=plan)
    chosen = planned(protocol, ["all"], None, corruptions())
    assert [(row.name, levels) for row, levels in chosen] == [("jpeg", [1, 2]), ("blur", [1, 2])]
    part = evaluate(copy, manifests, protocol=protocol, names=("jpeg",), severities=None)
    assert read_json(part.out / "run.json")["status"] == "partial"
    whole = evaluate(copy, manifests, protocol=protocol, names=("all",), severities=None)
    assert (whole.made, whole.cells) == (2, 4)
    assert read_json(whole.out / "run.json")["status"] == "complete"


def test_wrong_wishes_are_explained(copy: Path, manifests: list[Manifest]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean pixelation"):
        evaluate(copy, manifests, names=("pixelate",))
    with pytest.raises(ConfigError, match="severities 1 to 5, not 6"):
        evaluate(copy, manifests, severities=(6,))
    with pytest.raises(ProtocolError, match="learnt the generators"):
        evaluate(copy, manifests, protocol="synthetic")
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        evaluate(copy.parent, manifests)
    assert not (copy / "evaluations").exists(), "nothing was begun"


def test_a_killed_worker_ends_with_one_line(manifests: list[Manifest]) -> None:
    rows = select(toy_protocol(), manifests).tested
    store = CropStore.open(rows, manifests, SIDE)
    with Workers(1) as workers:
        before, after = (
            CorruptedFaces(rows, store, toy_protocol(), corruptions()["jpeg"], severity, workers=workers)
            for severity in (3, 4)
        )
        before.inputs(np.arange(len(before)))
        assert workers._pool is not None
        for process in list(workers._pool._processes.values()):
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(DFADError, match="was killed .out of memory.*fewer --workers"):
            after.inputs(np.arange(len(after)))


@pytest.mark.heavy
def test_a_stopped_worker_ends_with_one_line(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = select(toy_protocol(), manifests).tested
    store = CropStore.open(rows, manifests, SIDE)
    with Workers(1) as workers:
        faces = CorruptedFaces(rows, store, toy_protocol(), corruptions()["jpeg"], 3, workers=workers)
        workers.submit(*block_of(faces))()  # it has started
        monkeypatch.setattr(stream, "STILL_SECONDS", 0.5)
        monkeypatch.setattr(stream, "_POLL_SECONDS", 0.1)
        assert workers._pool is not None
        for process in list(workers._pool._processes.values()):
            os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(DFADError, match="was stopped, or waits for the disk, and made nothing for 0.5 s; run the"):
            faces.inputs(np.arange(len(faces)))
    assert not multiprocessing.active_children()


def block_of(faces: CorruptedFaces) -> tuple[object, ...]:
    row = corruptions()["jpeg"]
    return np.zeros((1, SIDE, SIDE, 3), np.uint8), faces.sample_ids[:1].tolist(), row, 3, 0, SIDE, None


KILLED = """
import sys
from pathlib import Path
from helpers.toy import toys_registered
from dfad_bench.data.manifest import Manifest
from helpers.training import run_robustness
if __name__ == "__main__":
    run, *folders = map(Path, sys.argv[1:])
    names = ("jpeg", "blur", "contrast")
    with toys_registered():
        run_robustness(run, [Manifest.open(f) for f in folders], names=names, device="cpu", workers=1)
"""


@pytest.mark.heavy
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for children in /proc, which is not here")
def test_kill_9_costs_no_finished_cell_and_leaves_no_process(
    copy: Path, manifests: list[Manifest], tmp_path: Path
) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, tmp_path / "killed.py", copy, *(manifest.folder for manifest in manifests)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(finished := list(copy.glob("evaluations/*/*/cells/[!.]*.json"))) < 2 and time.monotonic() < deadline:
            assert process.poll() is None, "ended before it was killed"
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    finally:
        process.kill()
        process.wait()
    assert len(finished) >= 2
    assert children
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in children if _alive(pid)]
    names = ("jpeg", "blur", "contrast")
    result = evaluate(copy, manifests, names=names, severities=None)
    assert result.cells == 15
    assert 0 < result.made <= result.cells - len(finished)
    assert evaluate(copy, manifests, names=names, severities=None).made == 0
    assert not list(copy.rglob(".*.tmp*"))


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_crops_of_several_sizes_need_one_to_be_corrupted_at(copy: Path, tmp_path: Path) -> None:
    inside = toy_rows("synthetic", (*SEEN, *UNSEEN))
    outside = toy_rows("synthetic-outdoor", ("real",))
    for row in outside:
        pixels = decode_crop(row["image"]["bytes"]).repeat(2, 0).repeat(2, 1)
        row |= {"image": {"bytes": encode_png(pixels), "path": None}, "width": 2 * SIDE, "height": 2 * SIDE}
        row["crop_sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()
    mixed = [write_manifest(tmp_path / "synthetic", "synthetic", inside)]
    mixed.append(write_manifest(tmp_path / "synthetic-outdoor", "synthetic-outdoor", outside))
    with pytest.raises(ConfigError, match=r"several sizes \(32x32, 64x64\).*--corrupt-at"):
        evaluate(copy, mixed)
    result = evaluate(copy, mixed, names=("jpeg",), severities=(1,), corrupt_at=64)
    assert read_json(result.out / "settings.json")["corrupt_at"] == 64


def test_frames_of_a_video_stay_together_in_every_cell(copy: Path, tmp_path: Path) -> None:
    with toys_registered():
        frames = []
        for dataset, generators in (("synthetic", (*SEEN, *UNSEEN)), ("synthetic-outdoor", ("real",))):
            rows = toy_rows(dataset, generators)
            rows = [{**r, "frame": i % 3, "origin": f"{r['source_key']}/{r['origin']}"} for i, r in enumerate(rows)]
            frames.append(write_manifest(tmp_path / dataset, dataset, rows, shard_size=64))
        result = evaluate(copy, frames, names=["contrast"], severities=[2])
    found = pd.read_parquet(result.out / "predictions.parquet")
    assert found["video"].notna().all()
    scored = build_robustness(result.out, resamples=5).metrics
    sets = [{(v.metric, v.subset) for v in scored if v.params["severity"] == level} for level in (0, 2)]
    assert ("auc", "unseen-videos") in sets[0]
    assert sets[0] == sets[1]
