"""A function of somebody's own is given our crops, and its answers are scored; what it does wrong is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers.toy import SIDE, toy_face, toy_manifests, toy_protocol

from dfad_bench.api.imports import evaluate_callable
from dfad_bench.api.runs import verify_record
from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.run_parquet import read_predictions
from dfad_bench.data.manifest import Manifest
from dfad_bench.intake.settings import CallableSettings

Faces = tuple[Protocol, list[Manifest]]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Faces:
    return toy_protocol(), toy_manifests(tmp_path_factory.mktemp("toy"))


def bright_share(images: np.ndarray) -> np.ndarray:
    return (images > 127).mean(axis=(1, 2, 3))


def test_a_function_is_given_the_crops_and_its_answers_are_stored(faces: Faces, tmp_path: Path) -> None:
    protocol, manifests = faces
    seen: list[np.ndarray] = []

    def remember(images: np.ndarray) -> np.ndarray:
        seen.append(images.copy())
        answer = bright_share(images)
        images[:] = 0  # what it does with them is its own
        return answer

    run = evaluate_callable(remember, tmp_path / "run", CallableSettings(protocol=protocol, batch_size=7), manifests)
    assert {(images.dtype.name, images.shape[1:]) for images in seen} == {("uint8", (SIDE, SIDE, 3))}
    assert max(map(len, seen[:-1])) == 7
    frame = read_predictions(run.folder / "predictions.parquet")
    rows = manifests[0].frame(["sample_id", "origin"]).set_index("sample_id")["origin"]
    for face, p_fake in frame[["sample_id", "p_fake"]].itertuples(index=False, name=None):
        if face in rows.index:
            _, generator, name = rows[face].split("/")
            identity, shot = name.removesuffix(".png").removeprefix("id").split("_")
            assert p_fake == pytest.approx(float(bright_share(toy_face(generator, int(identity), int(shot))[None])[0]))
    record = run.record
    assert record.imported is not None
    assert (record.source.kind, record.imported.matched_by, record.model.heads) == ("imported", "callable", "detection")
    assert record.imported.file.endswith("remember")
    assert "seed" in record.imported.unknown
    assert not verify_record(run.folder).differences


def test_both_answers_as_tensors_of_images_from_0_to_1(faces: Faces, tmp_path: Path) -> None:
    protocol, manifests = faces

    def answers(images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        assert images.dtype == np.float32
        assert images.max() <= 1
        mean = torch.as_tensor(images).mean(dim=(1, 2, 3))
        return torch.stack([mean / 2, mean / 2, 1 - mean], dim=1), mean

    run = evaluate_callable(answers, tmp_path / "run", CallableSettings(protocol=protocol, images="float"), manifests)
    assert run.record.model.heads == "both"
    number = run.record.metric("oscr", "seen-vs-unseen")
    assert number is not None
    assert number.value is not None


def fails(images: np.ndarray) -> np.ndarray:
    raise RuntimeError("no kernel\nfor this")


BAD: list[tuple[Callable[[np.ndarray], Any], str]] = [
    (fails, "fails failed on a batch of 32 faces: RuntimeError: no kernel$"),
    (lambda images: images.mean(), r"returned p_fake of shape \(\), expected \(32,\)"),
    (lambda images: None, "failed on a batch|p_fake of shape|no probability"),
    (lambda images: np.full(len(images), 2.0), "p_fake 2, which is no probability"),
    (lambda images: np.full(len(images), np.nan), "p_fake nan"),
    (lambda images: (np.ones((len(images), 2)) / 2, bright_share(images)), r"shape \(32, 2\), expected \(32, 3\)"),
    (lambda images: (np.ones((len(images), 3)), bright_share(images)), "must sum to 1, one sum is off by 2"),
    (lambda images: bright_share(images) / bright_share(images).max(), "looks at the other faces of a batch"),
]


@pytest.mark.parametrize(("function", "message"), BAD)
def test_what_it_does_wrong_is_one_line(function: Any, message: str, faces: Faces, tmp_path: Path) -> None:
    protocol, manifests = faces
    with pytest.raises(DFADError, match=message) as caught:
        evaluate_callable(function, tmp_path / "run", CallableSettings(protocol=protocol), manifests)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "expected package.module:function"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("math:no_such_function", "AttributeError"),
        ("math:pi", "is no function but of type float"),
    ],
)
def test_a_function_that_is_not_there_is_one_line(name: str, message: str, faces: Faces, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_callable(name, tmp_path / "run", CallableSettings(protocol=faces[0]), faces[1])


def test_the_command_finds_functions_of_the_working_folder(
    faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy_detector.py").write_text("def ask(images):\n    return images.mean(axis=(1, 2, 3)) / 255\n")
    words = ["evaluate", "--callable", "toy_detector:ask", "--protocol", "synthetic", "--out", "run"]
    for manifest in faces[1]:
        words += ["--manifest", str(manifest.folder)]
    found = CliRunner().invoke(dfad, [*words, "--allow-partial", "--quiet"])
    assert found.exit_code == 0, found.output
    assert "Imported predictions" in found.output
    assert "toy_detector:ask" in (tmp_path / "run" / "record.json").read_text()
    for more, message in ((["--device", "cpu"], "--callable takes no --device"), (["--run", "x"], "takes no --run")):
        assert message in CliRunner().invoke(dfad, [*words, *more]).output
    assert "needs --protocol, --manifest and --out" in CliRunner().invoke(dfad, words[:3]).output
    assert "Missing option '--run'" in CliRunner().invoke(dfad, ["evaluate"]).output
