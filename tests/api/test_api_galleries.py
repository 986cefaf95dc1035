"""A generator enrolled in a run from pictures or a manifest, and faces named by it; what must not be enrolled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers.toy import RECIPE, SIDE, toy_face, toy_manifests, toy_protocol, toy_rows, toys_registered
from helpers.training import run_training
from helpers.views import made_up
from PIL import Image

import dfad_bench as dfad
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_galleries import read_galleries
from dfad_bench.core.run_outputs import read_outputs
from dfad_bench.data.manifest import write_manifest
from dfad_bench.engine import loose_faces
from dfad_bench.metrics.enrolment import prototypes_of, unit_length
from dfad_bench.report.run_record import build_record

NEW = "synthetic-flow-a"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("galleries")
    with toys_registered():
        run_training("toy", toy_protocol(), toy_manifests(folder), folder / "run", recipe=RECIPE, device="cpu")
        build_record(folder / "run", resamples=0)
        for identity in range(5):
            pictures = folder / "new" / str(identity % 2)
            pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray(toy_face(NEW, 50 + identity, 0)).save(pictures / f"{identity}.png")
        yield folder


@pytest.fixture
def run(world: Path) -> Iterator[Path]:
    yield world / "run"
    for path in (world / "run" / "galleries").glob("*"):
        path.unlink()


def test_faces_of_an_enrolled_generator_get_its_name(world: Path, run: Path, tmp_path: Path) -> None:
    before = dfad.identify(run, world / "new", device="cpu").table
    assert {row["nearest"] for row in before.rows} <= {"real", "synthetic-gan-a", "synthetic-diffusion-a"}
    assert [row["face"] for row in before.rows] == ["0/0.png", "0/2.png", "0/4.png", "1/1.png", "1/3.png"]
    enrolled = dfad.enroll(run, world / "new", "my-flow", device="cpu")
    near = dfad.identify(run, world / "new", classifier="knn", device="cpu").table
    assert "most of the k nearest faces" in near.notes[0]
    with pytest.raises(ConfigError, match="no classifier 'svm'"):
        dfad.identify(run, world / "new", classifier="svm", device="cpu")  # type: ignore[arg-type]  # what a user may write
    (row,) = enrolled.table.rows
    assert (row["name"], row["faces"], row["sources"]) == ("my-flow", 5, 5)
    assert "each file for a source of its own" in enrolled.warnings[0]
    other = tmp_path / "others"
    other.mkdir()
    for identity in range(70, 78):
        Image.fromarray(toy_face(NEW, identity, 1)).save(other / f"{identity}.png")
    rows = dfad.identify(run, other, device="cpu").table.rows
    known = read_outputs(RunFolder(run).outputs("training"))
    classes = [*dfad.load_run(run).generators, "my-flow"]
    prototypes, _ = prototypes_of(
        np.concatenate([known.embedding, read_outputs(RunFolder(run).gallery("my-flow")).embedding]),
        np.concatenate([known.label, np.full(5, 3)]),
    )
    points = unit_length(loose_faces.embed_faces(run, other, device="cpu").outputs.embedding)
    assert [row["nearest"] for row in rows] == [classes[k] for k in (points @ prototypes.T).argmax(axis=1)]
    every = unit_length(np.concatenate([known.embedding, read_outputs(RunFolder(run).gallery("my-flow")).embedding]))
    of = np.concatenate([known.label, np.full(5, 3)])
    voters = of[np.argsort(-(points @ every.T), axis=1)[:, :5]]  # as many as are enrolled
    for row, votes in zip(dfad.identify(run, other, classifier="knn", device="cpu").table.rows, voters, strict=True):
        counts = np.bincount(votes, minlength=4)
        assert counts[classes.index(row["nearest"])] == counts.max()
    assert any(row["named"] == "my-flow" for row in rows)
    assert all(row["named"] in (row["nearest"], "unseen") for row in rows)


def test_pictures_and_a_manifest_of_them_are_embedded_alike_as_in_the_run(world: Path, run: Path) -> None:
    """Test faces of the run, given as a manifest again, have the embeddings that the run kept of them."""
    manifest = world / "synthetic"
    made = loose_faces.embed_faces(run, dfad.open_manifest(manifest), device="cpu")
    kept = read_outputs(RunFolder(run).outputs("test"))
    place = {name: number for number, name in enumerate(made.outputs.sample_id.tolist())}
    mine = [number for number, name in enumerate(kept.sample_id.tolist()) if name in place]
    assert len(mine) == 36
    rows = [place[name] for name in kept.sample_id[mine].tolist()]
    assert np.allclose(made.outputs.logits[rows], kept.logits[mine], atol=1e-5)
    assert "share a source or pixels with training faces" in made.warnings[0]
    pictures = loose_faces.embed_faces(run, world / "new", device="cpu")
    assert pictures.outputs.embedding.shape[1] == made.outputs.embedding.shape[1]


def test_what_cannot_be_enrolled_is_one_line(world: Path, run: Path, tmp_path: Path) -> None:
    for name in ("../up", "", "a" * 65, ".hidden", "a/b"):
        with pytest.raises(ConfigError, match="--name"):
            dfad.enroll(run, world / "new", name, device="cpu")
    with pytest.raises(ConfigError, match="a class the run was trained on"):
        dfad.enroll(run, world / "new", "synthetic-gan-a", device="cpu")
    with pytest.raises(ConfigError, match="no such folder of face pictures"):
        dfad.enroll(run, tmp_path / "none", "x", device="cpu")
    Image.new("RGB", (SIDE, 2 * SIDE)).save(tmp_path / "tall.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(ConfigError, match="no picture that is a face crop"):
        dfad.enroll(run, tmp_path, "x", device="cpu")
    Image.fromarray(toy_face(NEW, 1, 1)).save(tmp_path / "good.png")
    found = dfad.enroll(run, tmp_path, "x", device="cpu")
    assert set(found.refused) == {"tall.png", "broken.jpg"}
    assert found.table.rows[0]["faces"] == 1
    assert found.table.rows[0]["found"] is None
    assert not (run.parent / "up.parquet").exists()


def test_more_files_than_a_gallery_holds_are_refused(world: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="5 faces; 1 to 4 can be taken"):
        loose_faces.embed_faces(run, world / "new", device="cpu", most=4)
    with pytest.raises(ConfigError, match="120 faces; 1 to 4 can be taken"):
        loose_faces.embed_faces(run, dfad.open_manifest(world / "synthetic"), device="cpu", most=4)


def test_galleries_that_were_changed_or_are_of_other_weights_are_refused(world: Path, run: Path) -> None:
    dfad.enroll(run, world / "new", "x", device="cpu")
    facts = RunFolder(run).gallery("x").with_suffix(".json")
    stated = read_json(facts)
    checkpoint = stated["checkpoint_sha256"]
    assert list(read_galleries(RunFolder(run), checkpoint)) == ["x"]
    for change, says in (
        ({"checkpoint_sha256": "0" * 64}, "made by other weights"),
        ({"name": "../x"}, "not the gallery of"),
        ({"faces": 4}, "states 4 faces"),
        ({"sha256": "0" * 64}, "x.parquet"),
    ):
        write_json(facts, {**stated, **change})
        with pytest.raises(IntegrityError, match=says):
            read_galleries(RunFolder(run), checkpoint)


@pytest.mark.heavy
def test_models_that_read_views_need_a_manifest(world: Path, tmp_path: Path) -> None:
    manifests = toy_manifests(tmp_path)
    run_training(
        "gaze_toy", toy_protocol(), manifests, tmp_path / "run", recipe=RECIPE, epochs=1, device="cpu",
        views=made_up(manifests, lambda ids, crops: np.zeros((len(ids), 2))),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="reads gaze; give a manifest"):
        loose_faces.embed_faces(tmp_path / "run", world / "new", device="cpu")


def test_the_commands_say_what_was_done(world: Path, run: Path) -> None:
    given = ["--run", str(run), "--faces", str(world / "new"), "--device", "cpu", "--quiet"]
    result = CliRunner().invoke(command, ["enroll", *given, "--name", "y"])
    assert result.exit_code == 0, result.output
    assert "Gallery: " in result.stderr
    assert "y.parquet" in result.stderr
    result = CliRunner().invoke(command, ["identify", *given, "--json"])
    assert result.exit_code == 0, result.output
    assert '"nearest": "y"' in result.stdout
    result = CliRunner().invoke(command, ["enroll", *given, "--name", "../y"])
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (1, 1)


def test_a_manifest_of_faces_is_enrolled_with_its_sources(run: Path, tmp_path: Path) -> None:
    rows = [row for row in toy_rows("synthetic", [NEW], identities=20) if row["split"] == "test"]
    write_manifest(tmp_path / "m", "synthetic", rows)
    (row,) = dfad.enroll(run, tmp_path / "m", "z", device="cpu").table.rows
    assert (row["faces"], row["sources"]) == (18, 6)
    assert row["found"] is not None
