"""What stands in the place of a view's real values is said: before training, in the record, on a board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from helpers.toy import SIDE, toy_manifests, toy_protocol

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.record import plain
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import read_config
from dfad_bench.views.provider import ViewProvider
from dfad_bench.views.registry import view_class

WORDS = "every face has the caption 'a photo of a face', a stand-in (--view captions.file=FILE)"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return toy_manifests(tmp_path_factory.mktemp("manifests"), identities=4)


def test_without_a_table_every_face_has_the_constant_caption(manifests: list[Manifest]) -> None:
    ids = [name for manifest in manifests for name in manifest.frame(["sample_id"])["sample_id"]]
    provider = ViewProvider(manifests)
    source = provider.source("captions", ids, SIDE)
    assert source.present.all()
    assert set(source.gather(np.arange(len(ids)), lambda: pytest.fail("needs no crops"))) == {"a photo of a face"}
    assert provider.substitutes(["captions"]) == [f"view captions: {WORDS}"]
    assert provider.identity(["captions"])["captions"]["substitute"] == WORDS
    own = view_class("captions")({"constant": "a face"})
    assert "'a face'" in own.substitute()
    assert own.fingerprint != view_class("captions")().fingerprint
    with pytest.raises(ConfigError, match="constant must be a text"):
        view_class("captions")({"constant": " "})


def test_captions_of_a_table_are_no_substitute_and_keep_their_identity(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("sample_id,caption\na,b\n")
    view = view_class("captions")({"file": str(tmp_path / "c.csv")})
    assert view.substitute() == ""
    assert set(view.identity()) == {"fingerprint"}


@pytest.mark.heavy
def test_a_run_on_a_substitute_says_so_everywhere(manifests: list[Manifest], tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(plain(toy_protocol())))
    faces = [text for manifest in manifests for text in ("--manifest", str(manifest.folder))]

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(dfad, list(arguments))
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    place = ("--protocol", str(tmp_path / "toy.yaml"))
    train = ("train", "--model", "de_fake", "--size", "tiny", "--recipe", "quick", "--epochs", "1", "--device", "cpu")
    out = run(*train, *place, *faces, "--out", str(tmp_path / "runs" / "de_fake"), "--quiet")
    assert f"view captions: {WORDS}" in out
    assert read_config(tmp_path / "runs" / "de_fake").views["captions"]["substitute"] == WORDS
    board = run("leaderboard", *place, "--runs", str(tmp_path / "runs"), "--format", "markdown")
    assert "every face has the caption 'a photo of a face', a stand-in" in board.replace("&#39;", "'")
