"""A run as a folder to share: it opens and predicts as the run, tells nothing of the machine, and keeps to terms."""

from __future__ import annotations

import json
import os
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.toy import SIDE

import dfad_bench as dfad
from dfad_bench.api import shared_runs
from dfad_bench.api.shared_runs import push_run
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.record import plain, read_record, seal, write_record
from dfad_bench.core.strict import read_yaml
from dfad_bench.engine.config import config_from
from dfad_bench.sharing import private_text
from dfad_bench.sharing.licences import terms_of
from dfad_bench.sharing.model_card import LicenceLine
from dfad_bench.sharing.run_files import SHARED, check_shared


def pushed(run: Path, out: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, ["push", str(run), "--out", str(out), "--quiet", *words])
    return done.exit_code, done.output


def one_line(run: Path, out: Path, *words: str) -> str:
    code, text = pushed(run, out, *words)
    assert (code in (1, 4), text.count("\n")) == (True, 1), text
    assert not list(out.parent.glob(".*.new"))
    return text


def outputs(folder: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        made = dfad.load_run(folder).model(dfad.Inputs(images))
    return made.attribution_logits, made.detection_logits, made.embedding


def test_a_pushed_run_answers_to_the_bit(run: Path, tmp_path: Path) -> None:
    code, text = pushed(run, tmp_path / "shared")
    assert code == 0, text
    assert f"Upload it: hf upload OWNER/NAME {tmp_path / 'shared'} ." in text
    for mine, theirs in zip(outputs(run), outputs(tmp_path / "shared"), strict=True):
        assert torch.equal(mine, theirs)
    scores = [dfad.scores(folder).rows for folder in (run, tmp_path / "shared")]
    assert scores[0] == scores[1]
    assert dfad.verify_record(tmp_path / "shared").differences == dfad.verify_record(run).differences
    assert not list((tmp_path / "shared").rglob("step-*"))
    assert not (tmp_path / "shared" / ".lock").exists()


@pytest.mark.heavy
def test_predictions_of_other_faces_are_equal_to_the_bit(trained: Path, run: Path, tmp_path: Path) -> None:
    push_run(run, tmp_path / "shared")
    manifests = [trained / "synthetic", trained / "synthetic-outdoor"]
    made = []
    for folder in (run, tmp_path / "shared"):
        found = dfad.evaluate(folder, manifests, dfad.EvaluateSettings(device="cpu"))
        made.append(pd.read_parquet(found.folder / "predictions.parquet"))
    pd.testing.assert_frame_equal(made[0], made[1], check_exact=True)
    repredicted = dfad.verify_record(tmp_path / "shared", repredict=manifests, device="cpu")
    assert repredicted.differences == ()


@pytest.mark.heavy
def test_the_network_as_onnx_lies_beside_it(run: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="dfad-bench[onnx] is not installed")
    code, text = pushed(run, tmp_path / "shared", "--onnx")
    assert code == 0, text
    assert "model.onnx" in check_shared(tmp_path / "shared").files
    runtime.InferenceSession(tmp_path / "shared" / "model.onnx", providers=["CPUExecutionProvider"])
    assert str(tmp_path).encode() not in (tmp_path / "shared" / "model.onnx").read_bytes()
    assert torch.equal(outputs(run)[0], outputs(tmp_path / "shared")[0])


def test_the_card_is_read_by_the_hub_s_library(run: Path, tmp_path: Path) -> None:
    push_run(run, tmp_path / "shared")
    text = (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")
    card = huggingface_hub.ModelCard(text)
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "image-classification"
    record = read_record(run / "record.json")
    results = {result.metric_name: result.metric_value for result in card.data.eval_results}
    value = record.metric("auc", "unseen", task="detection")
    assert value is not None
    assert value.value is not None
    assert results["detection auc, unseen (micro)"] == round(value.value, 6)
    for part in ("## Intended use", "## What it was trained on", "## Numbers", "## Operating points", "## Limits",
                 "## Licences", "## How to use and verify it", record.record_id):  # fmt: skip
        assert part in text
    points = read_json(tmp_path / "shared" / "operating_points.json")["detection"]
    assert points[0]["threshold"] == 0.5


def test_paths_of_this_machine_are_cut_and_hashes_fit(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_text, "private_words", lambda: ("alice",))
    facts = read_json(run / "run.json")
    record = plain(read_record(run / "record.json"))
    for part in (facts, record):
        part["warnings"] = ["7 test faces share a source with faces /home/alice/runs/a was trained on"]
    write_json(run / "run.json", facts)
    write_record(run / "record.json", seal({key: v for key, v in record.items() if key != "record_id"}))
    made = push_run(run, tmp_path / "shared")
    assert made.changed == ("record.json: warnings[0]", "run.json: warnings[0]")
    every = b"".join(path.read_bytes() for path in (tmp_path / "shared").rglob("*") if path.is_file())
    assert b"alice" not in every
    assert read_record(tmp_path / "shared" / "record.json").warnings[0].endswith("faces a was trained on")
    assert "were cut off in: record.json" in (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")
    assert dfad.verify_record(tmp_path / "shared").differences == ()


def test_a_path_in_the_settings_gives_them_another_hash(run: Path, tmp_path: Path) -> None:
    text = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(text.replace("views: {}", "views: {a: {weights: /srv/alice/w.pt}}"))
    config = config_from(read_yaml(run / "config.yaml"), "x")
    facts, record = read_json(run / "run.json"), plain(read_record(run / "record.json"))
    for part in (facts, record):
        part["run"] |= {"config": config.plain_values, "config_sha256": config.sha256}
        part["run"]["files"].pop("config.yaml", None)
    write_json(run / "run.json", facts)
    write_record(run / "record.json", seal({key: v for key, v in record.items() if key != "record_id"}))
    made = push_run(run, tmp_path / "shared")
    assert "config.yaml: views.a.weights" in made.changed
    opened = dfad.load_run(tmp_path / "shared")  # which compares the hash of the settings
    assert opened.config.views == {"a": {"weights": "w.pt"}}


def test_a_table_that_tells_of_the_machine_is_not_shared(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_text, "private_words", lambda: ("id0001",))  # stands in every source key
    text = one_line(run, tmp_path / "shared")
    assert "selection.parquet: source_key" in text
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("MIT", "open"), ("CC BY-SA 4.0", "open"), ("CC BY-NC 4.0", "non_commercial"),
        ("CC BY-NC-ND 4.0", "restricted"),
        ("research only, by request form", "restricted"), ("mixed: never to be passed on", "restricted"),
        ("MIT code; trained on Gaze360, research only", "non_commercial"), ("the user's own", "unknown"),
        (None, "unknown"), ("Apache-2.0 but not for redistribution, no redistribution", "restricted"),
    ],
)  # fmt: skip
def test_terms(text: str | None, kind: str) -> None:
    assert terms_of(text) == kind


@pytest.mark.parametrize(("licence", "flag"), [("by request form", True), ("CC BY-NC 4.0", False), ("", True)])
def test_terms_that_may_forbid_it_need_the_user_s_word(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, licence: str, flag: bool
) -> None:
    line = LicenceLine("training data, x", licence, terms_of(licence))
    monkeypatch.setattr(shared_runs, "_licence_lines", lambda record: ((line,), ()))
    if flag:
        assert "--allow-restricted states that they allow it" in one_line(run, tmp_path / "shared")
        assert not (tmp_path / "shared").exists()
    code, text = pushed(run, tmp_path / "shared", *(["--allow-restricted"] if flag else []))
    assert code == 0
    assert "Warning: " in text
    card = huggingface_hub.ModelCard.load(tmp_path / "shared" / "README.md")
    assert card.data.license == "other"


def test_what_cannot_be_shared_is_one_line(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    assert "not the folder of a finished run" in one_line(tmp_path, out)
    weights = run / "checkpoint" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "damaged or changed" in one_line(run, out)
    weights.unlink()
    assert "has no weights" in one_line(run, out)
    weights.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(content)
    assert "is a link" in one_line(run, out)
    assert "expected OWNER/NAME" in one_line(run, out, "--to", "../x")
    assert not out.exists()


@pytest.mark.heavy
def test_only_a_shared_run_is_replaced(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    assert "holds other files and no shared run" in one_line(run, out)
    (out / "thesis.tex").unlink()
    push_run(run, out)
    push_run(run, out)
    assert check_shared(out).model == "toy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "shared"]
    (tmp_path / "link").symlink_to(out)
    assert "is no folder" in one_line(run, tmp_path / "link")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    assert "cannot be written" in one_line(run, tmp_path / "shut" / "x")


def test_files_that_are_not_those_of_the_list_are_found(run: Path, tmp_path: Path) -> None:
    push_run(run, tmp_path / "shared")
    path = tmp_path / "shared" / "trace.csv"
    content = path.read_text(encoding="utf-8")
    path.write_text(content + " ")
    with pytest.raises(IntegrityError, match="bytes, sharing.json says"):
        check_shared(tmp_path / "shared")
    path.write_text(content)
    listing = json.loads((tmp_path / "shared" / SHARED).read_text())
    listing["files"]["../../x"] = {"sha256": "0" * 64, "size": 1}
    (tmp_path / "shared" / SHARED).write_text(json.dumps(listing))
    with pytest.raises(ConfigError, match="is no file of a run"):
        check_shared(tmp_path / "shared")
    with pytest.raises(DFADError):
        check_shared(tmp_path)
