"""Records whose predictions were edited: what verification from files accepts, and predicting again does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from helpers.toy import RECIPE, toy_manifests, toy_predictions, toy_protocol, toys_registered
from helpers.training import run_evaluation, run_training

from dfad_bench.api.runs import leaderboard
from dfad_bench.cli.main import dfad
from dfad_bench.core.files import read_json, sha256_file, write_json
from dfad_bench.core.record import ResultRecord, read_record
from dfad_bench.core.run_outputs import Outputs, read_outputs, write_outputs
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.report.repredicted import NUMBERS, TOLERANCES, compare_predictions
from dfad_bench.report.run_record import build_record, rescore

MANIFESTS = ("synthetic", "synthetic-outdoor")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("repredict")
    manifests = toy_manifests(folder)
    with toys_registered():
        run_training("toy", toy_protocol(), manifests, folder / "run", recipe=replace(RECIPE, epochs=1), device="cpu")
        build_record(folder / "run", resamples=20)
        yield folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def verify(made: Path, run: Path, *more: str, again: bool = True) -> Result:
    given = [word for name in MANIFESTS for word in ("--manifest", str(made / name))]
    asked = ["--repredict", *given, "--device", "cpu", "--quiet"] if again else []
    return CliRunner().invoke(dfad, ["verify-record", "--run", str(run), *asked, *more])


def outputs_of(frame: pd.DataFrame) -> Outputs:
    """Outputs that these predictions follow from."""
    p, p_fake = frame[["p_0", "p_1", "p_2"]].to_numpy(float), frame["p_fake"].to_numpy(float)
    names = (frame[name].to_numpy(dtype=str) for name in ("sample_id", "group", "source_key"))
    logits, detection = np.log(p), np.log(np.column_stack([1 - p_fake, p_fake]))
    return Outputs(*names, frame["attribution_label"].to_numpy(), logits, detection, np.ones((len(frame), 8)))


def forge(run: Path, edit: Callable[[pd.DataFrame], pd.DataFrame], *, outputs: bool = True) -> ResultRecord:
    """Edit the predictions of a run, and all hashes and numbers that follow from them: a careful forger's work."""
    frame = edit(pd.read_parquet(run / "predictions.parquet"))
    facts = read_json(run / "run.json")
    facts["predictions"] |= {"sha256": write_predictions(run / "predictions.parquet", frame), "rows": len(frame)}
    facts["samples"] |= {"evaluated": len(frame), "expected": len(frame)}
    if outputs:  # else the edit is within what outputs are held to
        facts["run"]["files"]["outputs-test.parquet"] = write_outputs(run / "outputs-test.parquet", outputs_of(frame))
    write_json(run / "run.json", facts)
    build_record(run, resamples=20)
    return rescore(run)


def board_check(run: Path) -> str:
    (row,) = [row for row in leaderboard(toy_protocol(), run).rows if row["kind"] == "measured"]
    return str(row["checked"])


def better(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(p_fake=np.where(frame["detection_label"] == 1, 0.9, 0.1).astype("float32"))


def test_edited_predictions_agree_with_themselves_and_not_with_the_checkpoint(made: Path, run: Path) -> None:
    honest = verify(made, run, "--strict")
    assert honest.exit_code == 0, honest.output
    assert "equal to the bit" in honest.stdout
    assert board_check(run) == "repredicted"
    record = forge(run, better)
    assert board_check(run) == "follows"  # what was noted is of the record before
    assert record.source.trust == "recomputed"  # what a record says of its own trust is a claim
    alone = verify(made, run, again=False)
    assert (alone.exit_code, "hashes agree" in alone.stdout) == (0, True)
    assert "Not shown: that a model made these predictions (--repredict checks it)" in alone.stdout
    found = verify(made, run)
    assert found.exit_code == 4
    assert "not what its checkpoint predicts" in found.stderr
    assert "faces whose probabilities differ by more than 0.0001" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_outputs_of_another_model_are_not_what_the_checkpoint_gives(made: Path, run: Path) -> None:
    """Predictions are the checkpoint's, embeddings beside them are not: scores that read these would not be."""
    kept = read_outputs(run / "outputs-test.parquet")
    digest = write_outputs(run / "outputs-test.parquet", replace(kept, embedding=kept.embedding + np.float16(1)))
    facts = read_json(run / "run.json")
    facts["run"]["files"]["outputs-test.parquet"] = digest
    write_json(run / "run.json", facts)
    build_record(run, resamples=20)
    assert verify(made, run, again=False).exit_code == 0
    found = verify(made, run)
    assert found.exit_code == 4
    assert "outputs-test.parquet: faces with other embedding, predicted again" in found.stdout


@pytest.mark.heavy
def test_faces_labels_and_sources_are_chosen_anew(made: Path, run: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(run / "predictions.parquet")
    one = frame["sample_id"].iloc[0]
    edits: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "test faces without a stored prediction": lambda f: f[f["sample_id"] != one],
        "stored predictions of faces that are not tested": lambda f: f.assign(
            sample_id=f["sample_id"].where(f["sample_id"] != one, "0" * 16)
        ),
        "faces with another source_key": lambda f: f.assign(source_key=f["sample_id"]),
    }
    for number, (said, edit) in enumerate(edits.items()):
        copy = Path(shutil.copytree(run, tmp_path / str(number)))
        forge(copy, edit)
        result = verify(made, copy)
        assert result.exit_code == 4, said
        assert said in result.stdout


def test_an_order_hidden_within_the_tolerance_is_found_by_its_numbers(made: Path) -> None:
    """Answers that lie closer together than rounding might move them can be put into a perfect order for nothing."""
    protocol = toy_protocol()
    flat = toy_predictions(protocol, 30).assign(p_fake=0.7)
    record = _record_of(made, flat)
    rng = np.random.default_rng(0)
    rounded = flat.assign(p_fake=0.7 + rng.uniform(-1e-7, 1e-7, len(flat)))
    forged = flat.assign(p_fake=0.7 + 4e-5 * flat["detection_label"])
    honest = compare_predictions(_record_of(made, rounded), protocol, rounded, rounded)
    assert (honest.exact, honest.differences) == (True, ())
    found = compare_predictions(_record_of(made, forged), protocol, forged, flat, unlike=("torch 1, here 2",))
    assert found.largest is not None
    assert found.largest < TOLERANCES["fp32"]
    assert any("auc of unseen" in d.name for d in found.differences)
    assert record.metric("auc", "unseen").value == 0.5


def _record_of(made: Path, frame: pd.DataFrame) -> ResultRecord:
    from helpers.runs import write_run

    place = made / "flat"
    shutil.rmtree(place, ignore_errors=True)
    return write_run(place, toy_protocol(), frame, resamples=0)


@pytest.mark.parametrize(("precision", "shift"), [("fp32", 5e-5), ("fp16", 2e-3), ("bf16", 2e-2)])
def test_rounding_of_other_means_is_accepted_by_precision(made: Path, precision: str, shift: float) -> None:
    stated = toy_predictions(toy_protocol(), 30)
    record = _record_of(made, stated)
    record = replace(record, run=replace(record.run, precision=precision))
    noise = np.random.default_rng(1).uniform(-shift, shift, len(stated)) / 20
    noise[0] = shift * (0.9 if stated["p_fake"][0] < 0.5 else -0.9)  # one face as far off as rounding may move it
    near = stated.assign(p_fake=(stated["p_fake"] + noise).clip(0, 1)).sample(frac=1, random_state=0)
    found = compare_predictions(record, toy_protocol(), stated, near, unlike=("device cpu, here H100",))
    assert found.differences == ()
    assert (found.exact, "device cpu, here H100" in str(found)) == (False, True)
    far = compare_predictions(
        record, toy_protocol(), stated, near.assign(p_fake=(near["p_fake"] - 3 * shift).clip(0, 1))
    )
    assert any("differ by more than" in d.name for d in far.differences)
    assert NUMBERS[precision] <= 0.02


@pytest.mark.heavy
def test_other_bits_by_the_same_means_are_said_and_refused_by_strict(made: Path, run: Path) -> None:
    def nudge(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(p_fake=(frame["p_fake"] + 1e-6).astype("float32"))

    forge(run, nudge, outputs=False)
    result, strict = verify(made, run), verify(made, run, "--strict")
    assert (result.exit_code, strict.exit_code) == (0, 4), result.output
    assert "with the same device, threads and versions): another processor?" in result.stdout


@pytest.mark.heavy
def test_other_manifests_weights_and_places_are_refused(made: Path, run: Path, tmp_path: Path) -> None:
    toy_manifests(tmp_path / "other", identities=9)
    given = [word for name in MANIFESTS for word in ("--manifest", str(tmp_path / "other" / name))]
    result = CliRunner().invoke(dfad, ["verify-record", "--run", str(run), "--repredict", *given, "--device", "cpu"])
    assert result.exit_code == 4
    assert "manifest.content_sha256 of the given manifests" in result.stderr
    (run / "checkpoint" / "model.safetensors").unlink()
    result = verify(made, run)
    assert result.exit_code == 1
    assert "no checkpoint beside the record" in result.stderr
    assert verify(made, run, "--manifest", "x", again=False).exit_code == 2
    assert CliRunner().invoke(dfad, ["verify-record", "--run", str(run), "--repredict"]).exit_code == 2


@pytest.mark.heavy
def test_an_evaluation_is_predicted_again_with_the_weights_of_its_run(made: Path, run: Path) -> None:
    from dfad_bench.data.manifest import Manifest

    manifests = [Manifest.open(made / name) for name in MANIFESTS]
    out = run_evaluation(run, manifests, protocol=toy_protocol(seed=3), device="cpu").out
    build_record(out, resamples=20)
    before = {path: sha256_file(path) for path in run.rglob("*") if path.is_file()}
    result = verify(made, out)
    assert result.exit_code == 0, result.output
    assert "equal to the bit" in result.stdout
    assert {path: sha256_file(path) for path in run.rglob("*") if path.is_file()} == before
    forge(out, better)
    assert verify(made, out).exit_code == 4


def test_verification_from_files_imports_no_torch_and_takes_no_time(made: Path) -> None:
    code = (
        "import sys\nfrom dfad_bench.api.runs import verify_record\n"
        f"found = verify_record({str(made / 'run')!r})\n"
        "assert not found.differences and 'torch' not in sys.modules, 'torch was imported'\n"
    )
    began = time.process_time(), os.times().children_user
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert os.times().children_user - began[1] < 5  # seconds of computing; 0.9 on one slow core


def test_the_record_beside_the_predictions_is_read(made: Path, run: Path) -> None:
    (run / "record.json").rename(run / "theirs.json")
    given = [word for name in MANIFESTS for word in ("--manifest", str(made / name))]
    asked = ["verify-record", "--record", str(run / "theirs.json"), "--repredict", *given, "--device", "cpu", "--json"]
    result = CliRunner().invoke(dfad, asked)
    assert result.exit_code == 0, result.output
    assert '"exact": true' in result.stdout
    assert read_record(run / "theirs.json").predictions.rows == 45
