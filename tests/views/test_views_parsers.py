"""Who makes parsing maps: a BiSeNet file, or the stand-in, which says that it is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.bisenet import WIDTH, plain_bisenet, write_small_bisenet
from helpers.boards import record
from helpers.toy import SIDE, toy_manifests, toy_protocol
from torch.nn import functional as F

from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.engine.thop_convention import thop_count
from dfad_bench.report.row_facts import row_facts, row_note
from dfad_bench.synthetic.faces import draw_face, plan_face
from dfad_bench.synthetic.geometry import Projector
from dfad_bench.views.bisenet import MEAN, STD, BiSeNet, load_bisenet
from dfad_bench.views.parsing import Parsing
from dfad_bench.views.provider import ViewProvider
from dfad_bench.views.stand_in_parser import LABEL, stand_in_labels


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bisenet(tmp_path_factory.mktemp("weights") / "79999_iter.pth")


def test_bisenet_is_what_its_state_dict_says(small_file: Path) -> None:
    network = load_bisenet(small_file)
    face = torch.randn(1, 3, 96, 64, dtype=torch.float64)
    logits = plain_bisenet(dict(torch.load(small_file, weights_only=True)), face)
    expected = F.interpolate(logits, (96, 64), mode="bilinear", align_corners=True)
    torch.testing.assert_close(network.double()(face), expected)


@pytest.mark.heavy
def test_bisenet_has_the_size_of_the_published_network() -> None:
    """13.30 M parameters, and 13.84 G multiply-adds by thop with the two heads that only training uses."""
    network = BiSeNet().eval()
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 13.30

    def run_all_heads() -> None:
        fine, middle, coarse = torch.zeros(1, 3, 512, 512), torch.zeros(1, 128, 64, 64), torch.zeros(1, 128, 32, 32)
        network(fine), network.conv_out16(middle), network.conv_out32(coarse)

    assert round(thop_count(network, run_all_heads).operations / 1e9, 2) == 13.84


def test_labels_are_those_of_one_normalised_face_of_512_pixels(small_file: Path, tmp_path: Path) -> None:
    """A view's maps against the plain network on the plainly prepared crop, and independent of the batch."""
    manifests = toy_manifests(tmp_path, identities=2)
    names = manifests[0].frame(["sample_id"])["sample_id"].tolist()[:3]
    crops = {crop.sample_id: crop.pixels() for crop in manifests[0].crops(set(names))}
    source = ViewProvider(manifests, {"parsing": {"weights": str(small_file)}}).source("parsing", names, SIDE)
    assert source.present.all()
    found = source.gather(np.arange(3), lambda: None)
    network = load_bisenet(small_file)
    crop = torch.from_numpy(crops[names[1]].copy()).permute(2, 0, 1)[None].float()
    # enlarging is plain bilinear interpolation, with PIL's rounding to whole grey levels
    big = F.interpolate(crop, (512, 512), mode="bilinear", align_corners=False).round() / 255
    normal = (big - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    labels = network(normal)[0].argmax(0)
    step = 512 // SIDE
    plain = labels[step // 2 :: step, step // 2 :: step]
    assert (found[1, 0] == plain).float().mean() > 0.98  # pixels between two labels may go either way


def test_files_of_other_networks_are_refused(small_file: Path, tmp_path: Path) -> None:
    state = torch.load(small_file, weights_only=True)
    cut = {name: value for name, value in state.items() if not name.startswith("ffm.")}
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "wrapped.pth")
    assert load_bisenet(tmp_path / "wrapped.pth").cp.resnet.conv1.out_channels == WIDTH
    for wrong in (cut, {"fc.weight": torch.zeros(2, 2)}):
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(WeightsError, match="not a BiSeNet face parser's state dict"):
            load_bisenet(tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match="'bisenet_face_parsing' not found; get them from the repository zllrunning"):
        _ = Parsing({"weights": "bisenet_face_parsing"}).fingerprint


def test_a_parser_must_be_named(small_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"no parser: give weights .*, folder .*, or parser=stand-in"):
        Parsing({})
    for wrong, message in (
        ({"folder": "a", "weights": "b"}, "folder and weights are two parsers"),
        ({"weights": "b", "parser": "stand-in"}, "weights are read by BiSeNet"),
        ({"parser": "SegFace"}, "no parser: give weights"),
        ({"parser": "stand-in", "classes": 11}, "classes is 11, this parser has 19"),
    ):
        with pytest.raises(ConfigError, match=message):
            Parsing(wrong)
    stand_in, network = Parsing({"parser": "stand-in"}), Parsing({"weights": str(small_file)})
    assert (stand_in.public_settings()["parser"], network.public_settings()["parser"]) == ("stand-in", "BiSeNet")
    assert len({stand_in.fingerprint, network.fingerprint}) == 2
    assert (stand_in.asks, network.asks) == (("crops", "landmarks"), ("crops",))


def test_records_and_boards_name_the_stand_in() -> None:
    protocol = toy_protocol()
    made = record(protocol)
    for parser, marked in (("stand-in", True), ("BiSeNet", False)):
        view = Parsing({"folder": "x", "parser": parser})
        views = {"parsing": {**view.public_settings(), "substitute": view.substitute(), "fingerprint": "0" * 64}}
        run = replace(made.run, config={**made.run.config, "views": views})
        note = row_note({**row_facts([replace(made, run=run)], "shipped", {}), "model": "toy"})
        assert ("a stand-in for a face parser" in note) == marked
    assert "a stand-in for a face parser" in Parsing({"parser": "stand-in"}).identity()["substitute"]


def landmarks_of(path: str) -> np.ndarray:
    """Five points of a drawn face, where its parts were drawn."""
    plan = plan_face(0, path)
    project = Projector(plan.pose, plan.scene.placement)
    mouth = project(np.array([[-26.0, 33.0, 35.0], [26.0, 33.0, 35.0]]))
    nose = project(np.array([[0.0, 4.0, 5.0]]))
    return np.concatenate([project.iris_centres(), nose, mouth])


def test_the_stand_in_finds_the_parts_of_a_drawn_face() -> None:
    image, _ = draw_face(0, "train/real-studio/id0001_00.png")
    points = landmarks_of("train/real-studio/id0001_00.png")
    labels = stand_in_labels(image, points)
    assert labels is not None
    assert labels.shape == image.shape[:2]
    assert labels.dtype == np.uint8
    shares = {name: float((labels == number).mean()) for name, number in LABEL.items()}
    for name in ("skin", "hair", "nose", "left eye", "right eye", "left brow", "right brow", "upper lip", "lower lip"):
        assert shares[name] > 0.0005, name
    rows, columns = (points[:2, ::-1].round().astype(int)).T
    assert labels[rows[0], columns[0]] == LABEL["left eye"]
    assert labels[rows[1], columns[1]] == LABEL["right eye"]
    assert labels[2, 2] == labels[2, -3] == LABEL["background"]
    # the map follows the pixels, not the landmarks alone
    grey = stand_in_labels(np.full_like(image, 128), points)
    assert grey is not None
    assert not set(np.unique(grey)) & {LABEL["left eye"], LABEL["upper lip"], LABEL["hair"]}


def test_the_stand_in_has_no_map_of_faces_it_cannot_place() -> None:
    image, points = np.zeros((64, 64, 3), np.uint8), np.array([[20.0, 20], [44, 20], [32, 32], [24, 44], [40, 44]])
    assert stand_in_labels(image, points) is not None
    assert stand_in_labels(image, np.full((5, 2), np.nan)) is None
    assert stand_in_labels(image, points * 0.1) is None, "too small"
    assert stand_in_labels(image, np.tile(points[:, :1], (1, 2))) is None, "all on a line"
