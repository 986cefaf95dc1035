"""Faces without a view: every model is tested on the same ones; a record says how many there are and what is done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers.toy import RECIPE, GazeToy, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_evaluation, run_robustness, run_training
from helpers.views import made_up
from torch import Tensor

import baselines
from dfad_bench.cli.main import dfad
from dfad_bench.core import registry
from dfad_bench.core.contract import Inputs
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.run_parquet import read_predictions
from dfad_bench.data.manifest import Manifest
from dfad_bench.report.row_facts import row_facts, row_note
from dfad_bench.report.run_record import build_record
from dfad_bench.views.provider import ViewProvider

ONE = {"recipe": replace(RECIPE, epochs=1), "device": "cpu"}


class Silent(GazeToy):
    """It does not say what it does without a gaze."""

    missing_views = {}

    def embed(self, inputs: Inputs) -> Tensor:
        return super(GazeToy, self).embed(inputs) + inputs.views["gaze"].mean(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Manifest]]:
    torch.set_num_threads(1)
    with toys_registered():
        baselines.DFAD_MODELS["silent"] = f"{__name__}:Silent"
        registry.model_table.cache_clear()
        yield toy_manifests(tmp_path_factory.mktemp("manifests"))


def gaze(manifests: Sequence[Manifest], lacks: str | None = "synthetic-flow-a") -> ViewProvider:
    """A made-up gaze, which faces of one generator and each seventh face lack; None: none lacks it."""
    rows = manifests[0].frame(["sample_id", "generator"])
    without = set(rows.loc[rows["generator"] == lacks, "sample_id"]) if lacks else set()

    def angles(samples: Sequence[str], crops: np.ndarray | None) -> np.ndarray:
        values = np.full((len(samples), 2), 0.25)
        gone = [name in without or (lacks is not None and int(name[:8], 16) % 7 == 0) for name in samples]
        values[np.array(gone)] = np.nan
        return values

    return made_up(manifests, angles)


def facts(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


@pytest.mark.heavy
def test_the_record_and_the_warnings_say_how_many_faces_of_each_part_have_no_gaze(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    with_gaze = run_training("gaze_toy", toy_protocol(), manifests, tmp_path / "a", views=gaze(manifests), **ONE)
    plain = run_training("toy", toy_protocol(), manifests, tmp_path / "b", **ONE)
    ours, theirs = (read_predictions(run.out / "predictions.parquet") for run in (with_gaze, plain))
    assert ours["sample_id"].tolist() == theirs["sample_id"].tolist()  # the same faces for every model
    counted = facts(with_gaze.out)["samples"]
    assert set(counted["without_view"]) == {"gaze"}
    parts = counted["without_view"]["gaze"]
    assert set(parts) == {"train", "validation", "test"}
    assert parts["test"] >= 9  # all of the flow, and some others
    assert counted["missing_views"] == {"gaze": "nothing is added"}
    told = [line for line in with_gaze.warnings if "have no gaze" in line]
    rows = {part: about["rows"] for part, about in facts(with_gaze.out)["manifest"]["splits"].items()}
    order = [part for part in ("train", "validation", "test") if parts[part]]
    assert told == [f"{parts[part]} of {rows[part]} {part} faces have no gaze: nothing is added" for part in order]
    record = build_record(with_gaze.out, resamples=5)
    assert record.samples.without_view == {"gaze": parts}
    assert facts(plain.out)["samples"]["without_view"] == {}
    note = row_note({**row_facts([record], "shipped", {}), "model": "toy"})
    assert f"{parts['test']} of 45 test faces without gaze (nothing is added)" in note
    again = run_evaluation(with_gaze.out, manifests, device="cpu", views=gaze(manifests))
    assert facts(again.out)["samples"]["without_view"] == {"gaze": {"test": parts["test"]}}
    assert [line for line in again.warnings if "no gaze" in line] == [told[-1]]


def test_a_model_that_does_not_say_what_it_does_is_refused_where_faces_lack_the_view(
    manifests: list[Manifest], tmp_path: Path
) -> None:
    said = r"\d+ of \d+ train faces have no gaze, and Toy does not say what it does then: .*missing_views"
    with pytest.raises(ConfigError, match=said):
        run_training("silent", toy_protocol(), manifests, tmp_path / "a", views=gaze(manifests), **ONE)
    whole = gaze(manifests, lacks=None)
    run = run_training("silent", toy_protocol(), manifests, tmp_path / "b", views=whole, **ONE)
    assert facts(run.out)["samples"]["without_view"] == {"gaze": {"train": 0, "validation": 0, "test": 0}}
    with pytest.raises(ConfigError, match="test faces have no gaze, and Toy does not say"):
        run_evaluation(run.out, manifests, device="cpu", views=gaze(manifests))


@pytest.mark.heavy
def test_corrupted_faces_that_lose_their_gaze_are_said_too(manifests: list[Manifest], tmp_path: Path) -> None:
    run = run_training("gaze_toy", toy_protocol(), manifests, tmp_path / "a", views=gaze(manifests), **ONE)
    asked = {"names": ("gaussian_noise",), "severities": (5,), "device": "cpu"}
    found = run_robustness(run.out, manifests, views=gaze(manifests), **asked)
    count = facts(run.out)["samples"]["without_view"]["gaze"]["test"]
    assert any(line.endswith(f"{count} of 45 faces have no gaze: nothing is added") for line in found.warnings)


@pytest.mark.heavy
def test_evaluate_prints_it(manifests: list[Manifest], tmp_path: Path) -> None:
    """The toy manifests have no landmarks, hence no face a gaze."""
    folders = [str(each) for manifest in manifests for each in ("--manifest", manifest.folder)]
    views = ViewProvider(manifests)
    run = run_training("gaze_toy", toy_protocol(), manifests, tmp_path / "a", views=views, **ONE)
    result = CliRunner().invoke(dfad, ["evaluate", "--run", str(run.out), *folders, "--device", "cpu", "--quiet"])
    assert result.exit_code == 0, result.output
    assert "Warning: 45 of 45 test faces have no gaze: nothing is added" in result.stderr
