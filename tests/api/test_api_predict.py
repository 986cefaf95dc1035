"""Faces of any picture put to a finished run: its own numbers for faces of its manifests, a line for each refusal."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.toy import RECIPE, toy_protocol, toys_registered
from helpers.training import run_training
from PIL import Image

import dfad_bench as dfad
from dfad_bench.api import predict_pictures
from dfad_bench.api.predict_pictures import PictureWriter
from dfad_bench.api.predict_rows import COLUMNS
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.inference import stream
from dfad_bench.inference.picture_folder import MARKER
from dfad_bench.inference.redeliveries import REDELIVERIES
from dfad_bench.report.open_world.face_answers import DetectionBand, RunAnswers
from dfad_bench.report.run_record import build_record


@pytest.fixture(scope="module")
def world(tiny_manifests: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run trained on the tiny manifests."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("predict")
    with toys_registered():
        opened = [dfad.open_manifest(path) for path in tiny_manifests]
        run_training("toy", toy_protocol(), opened, folder / "run", recipe=RECIPE, device="cpu", epochs=1)
        build_record(folder / "run", resamples=0)
        yield folder


@pytest.fixture(scope="module")
def tested(world: Path, tiny_manifests: tuple[Path, Path]) -> pd.DataFrame:
    """Predictions of six test faces of the run, with the picture each was cropped from."""
    kept = pd.read_parquet(RunFolder(world / "run").predictions).set_index("sample_id")
    rows = dfad.open_manifest(tiny_manifests[0]).frame(["sample_id", "origin", "box", "crop_sha256"])
    found = rows[rows["sample_id"].isin(kept.index)].head(6).set_index("sample_id").join(kept)
    faces = Path(tiny_manifests[0]).parent / "faces"
    return found.assign(path=[str(faces / origin) for origin in found["origin"]])


def test_faces_of_a_manifest_get_the_numbers_of_the_run(world: Path, tested: pd.DataFrame) -> None:
    found = dfad.predict(list(tested["path"]), world / "run", device="cpu", top=3)
    rows = list(found)
    assert [row["kind"] for row in rows] == ["face"] * len(tested)
    assert np.abs(np.array([row["p_fake"] for row in rows]) - tested["p_fake"]).max() < 1e-6
    for row, (_, kept) in zip(rows, tested.iterrows(), strict=True):
        expected = sorted((float(kept[f"p_{k}"]) for k in range(3)), reverse=True)
        assert [one["probability"] for one in row["top"]] == pytest.approx(expected, abs=1e-6)
        assert [row[name] for name in ("box_x0", "box_y0", "box_x1", "box_y1")] == pytest.approx(kept["box"], abs=1e-3)
        assert set(row) <= set(COLUMNS)
    assert (found.inputs_done, found.inputs_refused, sum(found.verdicts.values())) == (len(tested), 0, len(tested))
    assert any("within 0.1 of 0.5" in line and "19 are needed" in line for line in found.limits)
    assert any("trained on" in line and "synthetic-gan-a" in line for line in found.limits)


def test_training_faces_are_marked(world: Path, tiny_manifests: tuple[Path, Path]) -> None:
    chosen = pd.read_parquet(RunFolder(world / "run").selection)
    learnt = chosen[chosen["part"] == "train"]["sample_id"].iloc[0]
    rows = dfad.open_manifest(tiny_manifests[0]).frame(["sample_id", "origin"]).set_index("sample_id")
    picture = Path(tiny_manifests[0]).parent / "faces" / rows.loc[learnt, "origin"]
    (row,) = dfad.predict(picture, world / "run", device="cpu")
    assert row["flags"] == ["training_face"]


@pytest.fixture(scope="module")
def mixed(tested: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good and bad inputs of every kind."""
    first, second = (Image.open(path).convert("RGB") for path in tested["path"].iloc[:2])
    folder = tmp_path_factory.mktemp("inputs") / "mixed"
    (folder / "deep").mkdir(parents=True)
    both = Image.new("RGB", (first.width + second.width, first.height))
    both.paste(first, (0, 0))
    both.paste(second.resize((second.width // 2, second.height // 2)), (first.width, 0))
    both.save(folder / "two faces.png")
    first.save(folder / "deep" / "=1+1.png")
    Image.new("RGB", (200, 200), "grey").save(folder / "empty.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        archive.write(tested["path"].iloc[2], "inside/face.png")
        archive.writestr("../up.png", b"x")
    (folder / "torn.zip").write_bytes((folder / "packed.zip").read_bytes()[:-30])
    with zipfile.ZipFile(folder / "texts.zip", "w") as archive:
        archive.writestr("a.txt", "no picture")
    mirrored = first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    first.save(folder / "clip.gif", save_all=True, append_images=[mirrored, first.rotate(3)])
    return folder


def test_every_kind_of_input_has_its_lines(world: Path, mixed: Path) -> None:
    found = dfad.predict(mixed, world / "run", device="cpu")
    rows = list(found)
    frame = pd.DataFrame(rows)
    by_input = frame.groupby("input")["kind"].agg(list).to_dict()
    names = {Path(str(name)).relative_to(mixed).as_posix(): kinds for name, kinds in by_input.items()}
    assert names == {
        "two faces.png": ["face", "face"], "deep/=1+1.png": ["face"], "empty.png": ["refused"],
        "broken.jpg": ["refused"], "packed.zip/inside/face.png": ["face"], "torn.zip": ["refused"],
        "clip.gif": ["face", "face", "face", "video"],
    }  # fmt: skip
    two = [row for row in rows if row["input"].endswith("two faces.png")]
    assert [(row["face"], row["faces"]) for row in two] == [(1, 2), (2, 2)]
    assert two[0]["box_x1"] - two[0]["box_x0"] > two[1]["box_x1"] - two[1]["box_x0"]
    assert [row["status"] for row in rows if row["kind"] == "refused"] == [
        "unsupported_format", "no_face", "unreadable",
    ]  # fmt: skip
    assert found.inputs_refused == 3
    assert dict(found.left_out) == {
        "no picture or video by its name": 2, "name that leads out of its archive": 1, "damaged archive": 1,
    }  # fmt: skip
    frames = [row["p_fake"] for row in rows if row["input"].endswith("clip.gif") and row["kind"] == "face"]
    video = next(row for row in rows if row["kind"] == "video")
    assert video["p_fake"] == pytest.approx(np.mean(frames))
    assert (video["frames"], video["p_fake_low"], video["p_fake_high"]) == (3, min(frames), max(frames))


@pytest.mark.heavy
def test_small_chunks_change_nothing(world: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dfad.predict(mixed, world / "run", device="cpu").to_frame()
    monkeypatch.setattr(stream, "FACES", 1)
    small = dfad.predict(mixed, world / "run", device="cpu").to_frame()
    assert whole["input"].tolist() == small["input"].tolist()
    assert np.allclose(whole["p_fake"].astype(float), small["p_fake"].astype(float), atol=1e-6, equal_nan=True)


def test_names_patterns_and_stdin(world: Path, tested: pd.DataFrame, tmp_path: Path) -> None:
    paths = list(tested["path"][:2])
    folder = Path(paths[0]).parent
    (tmp_path / "link.png").symlink_to(paths[0])
    names = "\0".join([paths[0], "", "absent.png"]) + "\0\n" + paths[1] + "\n"
    found = dfad.predict(
        ["-", str(tmp_path / "link.png"), str(tmp_path / "*.tif"), "a\0b"], world / "run", device="cpu",
        stdin=io.BytesIO(os.fsencode(names)),
    )  # fmt: skip
    assert found.total is None
    assert [(row["input"], row.get("reason")) for row in found] == [
        (paths[0], None), ("absent.png", "No such file or directory"), (paths[1], None),
        (str(tmp_path / "link.png"), None), (str(tmp_path / "*.tif"), "no file fits this pattern"),
        ("a\0b", "a NUL byte in its name"),
    ]  # fmt: skip
    assert dfad.predict(str(folder / "*.png"), world / "run", device="cpu").total == len(list(folder.glob("*.png")))
    later = list(dfad.predict(paths, world / "run", device="cpu", skip=1))
    assert [row["input"] for row in later] == paths[1:]


@pytest.mark.heavy
def test_the_command_prints_lines_json_and_csv(world: Path, mixed: Path) -> None:
    given = ["predict", str(mixed), "--run", str(world / "run"), "--device", "cpu", "--quiet"]
    result = CliRunner().invoke(command, given)
    assert result.exit_code == 3, result.output
    assert "two faces.png, face 2 of 2: " in result.stdout
    assert "broken.jpg: unsupported_format (" in result.stdout
    assert "not proof" in result.stdout
    assert "%" not in result.stdout.split("\n\n")[0].replace("% of them fake", "")  # a score is no percentage of guilt
    assert result.stderr.splitlines()[-1] == "Error: 3 of 7 inputs could not be used, or not wholly"
    lines = [json.loads(line) for line in CliRunner().invoke(command, [*given, "--json"]).stdout.splitlines()]
    assert [lines[0]["kind"], lines[-1]["kind"]] == ["about", "end"]
    assert (lines[-1]["inputs"], lines[-1]["refused"], sum(lines[-1]["verdicts"].values())) == (7, 3, 7)
    table = list(csv.reader(io.StringIO(CliRunner().invoke(command, [*given, "--csv"]).stdout)))
    assert table[0] == list(COLUMNS)
    assert {len(line) for line in table} == {len(COLUMNS)}
    assert len(table) == len(lines) - 1


def test_names_in_csv_are_no_formulas(world: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mixed / "deep")
    given = ["predict", "=1+1.png", "--run", str(world / "run"), "--csv", "--device", "cpu", "--quiet"]
    result = CliRunner().invoke(command, given)
    assert result.exit_code == 0, result.output
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["kind"], row["input"]) == ("face", "'=1+1.png")


@pytest.mark.heavy
def test_stability_asks_about_eight_other_ways(
    world: Path, tested: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tested["path"].iloc[0]
    (row,) = dfad.predict(picture, world / "run", device="cpu", stability=True)
    assert list(row["redelivered"]) == [name for name in REDELIVERIES if name not in row["lost_by"]]
    assert row["redelivered"]["no_metadata"] == pytest.approx(row["p_fake"], abs=1e-6)
    middle = float(np.mean([row["p_fake"], *row["redelivered"].values()]))
    apart = DetectionBand(middle, middle, "")
    said = apart.verdict(row["p_fake"])
    expected = [name for name, score in row["redelivered"].items() if apart.verdict(score) != said]
    monkeypatch.setattr(RunAnswers, "band", apart)
    (other,) = dfad.predict(picture, world / "run", device="cpu", stability=True)
    assert other["turned_by"] == expected
    turns = len(expected) + len(other["lost_by"])
    assert other["verdict"] == ("unsure" if turns >= 2 else said)


def test_frames_of_a_video_are_read_again_to_be_annotated(
    world: Path, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    write = PictureWriter.write_sample
    monkeypatch.setattr(
        PictureWriter,
        "write_sample",
        lambda self, chunk, *more: (kept.extend(chunk.pictures), write(self, chunk, *more)),
    )
    clip = mixed / "clip.gif"
    rows = list(dfad.predict(clip, world / "run", device="cpu", annotate=tmp_path / "out", estimator="none"))
    assert kept == []  # all frames of a film at once may be gigabytes
    assert [row["annotated"][-15:] for row in rows if row["kind"] == "face"] == [f"frame{n:06d}.jpg" for n in range(3)]
    monkeypatch.setattr(predict_pictures, "frames_again", lambda *given: iter(()))  # the file was changed meanwhile
    found = dfad.predict(clip, world / "run", device="cpu", annotate=tmp_path / "out", estimator="none")
    assert not any("annotated" in row for row in found)
    assert f"{clip}: 3 frames could not be read again to be annotated" in found.remarks


@pytest.mark.heavy
def test_pictures_are_annotated_and_videos_have_timelines(world: Path, mixed: Path, tmp_path: Path) -> None:
    out, plots = tmp_path / "out", tmp_path / "plots"
    rows = list(dfad.predict(mixed, world / "run", device="cpu", annotate=out, plot=plots, heat_maps=True, frames=2))
    named = [row["annotated"] for row in rows if row["kind"] == "face"]
    assert {path.name for path in out.iterdir()} == {*named, MARKER}
    assert any(name.endswith("-two_faces.png") for name in named)
    assert sum("-clip-frame" in name for name in named) == 2
    assert len(list(plots.glob("*-clip.svg"))) == 1
    for name in named:
        with Image.open(out / name) as picture:
            assert max(picture.size) <= 1600
    with pytest.raises(ConfigError, match="holds other files"):
        list(dfad.predict(mixed, world / "run", device="cpu", annotate=mixed))


def test_two_runs_are_asked_about_the_same_faces(world: Path, tested: pd.DataFrame, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(world / "run", other)
    rows = list(dfad.predict(tested["path"].iloc[0], [world / "run", other], device="cpu"))
    assert [row["run"] for row in rows][-1] == "all runs"
    assert rows[-1]["disagreement"] == 0
    assert rows[-1]["p_fake"] == rows[0]["p_fake"]
    assert rows[-1]["generator"] == rows[0]["generator"]
    with pytest.raises(ConfigError, match="given twice"):
        dfad.predict("x.png", [world / "run", world / "run"], device="cpu")


@pytest.mark.heavy
def test_faces_are_named_by_an_enrolled_generator(
    world: Path, tiny_manifests: tuple[Path, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(world / "run", run)
    with pytest.raises(ConfigError, match="no generator is enrolled"):
        dfad.predict("x.png", run, device="cpu", gallery=("all",))
    dfad.enroll(run, tiny_manifests[1], "outdoor", device="cpu")  # its own faces are nearest to their mean
    outdoor = Path(tiny_manifests[1]).parent / "faces" / "test" / "real-outdoor"
    rows = list(dfad.predict(sorted(outdoor.glob("*.png"))[:3], run, device="cpu", gallery=("outdoor",)))
    enrolled = dfad.identify(run, tiny_manifests[1], device="cpu").table.rows
    nearest = {row["face"]: row for row in enrolled}
    for row in rows:
        other = next(one for face, one in nearest.items() if row["input"].endswith(face))
        assert (row["nearest"], row["similarity"]) == (other["nearest"], pytest.approx(other["similarity"], abs=1e-3))
        assert row["nearest"] != "outdoor" or row["generator"] == "outdoor"
    with pytest.raises(UnknownNameError, match="enrolled generator"):
        dfad.predict("x.png", run, device="cpu", gallery=("indoor",))


def test_how_faces_are_cropped_is_the_runs(world: Path, tested: pd.DataFrame, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(world / "run", run)
    picture = tested["path"].iloc[0]
    found = dfad.predict(picture, run, device="cpu", crop="face-256-1.6")
    assert "learnt from faces cropped by face-256-1.3" in found.remarks[0]
    facts = read_json(RunFolder(run).facts)
    for made, says in (
        ({}, "does not say how its faces were cropped"),
        ({"synthetic": {"crop": "face-256-1.3", "crop_sha256": "0" * 64}}, "has another content here"),
        ({"synthetic": {"crop": "../none", "crop_sha256": "0" * 64}}, "--crop PATH"),
    ):
        facts["manifest"]["made"] = made
        write_json(RunFolder(run).facts, facts)
        with pytest.raises(ConfigError, match=says):
            dfad.predict(picture, run, device="cpu")
    with pytest.raises(ConfigError, match="record.json"):
        dfad.predict(picture, tmp_path, device="cpu")
