"""Parsing maps compared: features and statistics against slow twins, the claim, and the command."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from helpers.gaze_figures import SIDE, make
from PIL import Image

import dfad_bench as dfad_api
from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError, ManifestError, UnknownNameError, WeightsError
from dfad_bench.core.label_colours import CELEBAMASK_HQ, label_colours
from dfad_bench.data.manifest import Manifest
from dfad_bench.gaze.backends import any_dimension, closed_form_2d, separate_dimensions
from dfad_bench.gaze.resample import drawn_gaussians, resampled_gaussians, source_sums
from dfad_bench.metrics.frechet import frechet_distance, gaussian
from dfad_bench.parsing.analysis import PLACE, ParsingReport, compare_maps
from dfad_bench.parsing.features import inception_features, parts_of, root_shares
from dfad_bench.report.parsing.tables import parsing_tables

# --- statistics in more than two dimensions ----------------------------------------------------------------------


def test_the_distance_of_any_dimension_is_the_frechet_distance() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4)) for _ in range(6)]
    sets[0][:, 1] = sets[0][:, 0]  # a singular covariance, as shares that sum to one have
    first, second = ([gaussian(rows) for rows in some] for some in (sets[:3], sets[3:]))
    stacked = [np.stack(parts) for some in (first, second) for parts in zip(*some, strict=True)]
    expected = [frechet_distance(*a, *b) for a, b in zip(first, second, strict=True)]
    assert any_dimension(*stacked) == pytest.approx(expected)
    alone = [frechet_distance(m[:1], c[:1, :1], n[:1], d[:1, :1]) for (m, c), (n, d) in zip(first, second, strict=True)]
    found = separate_dimensions(*[part[..., :1] if part.ndim == 2 else part[..., :1, :1] for part in stacked])
    assert found == pytest.approx(alone)
    assert separate_dimensions(*stacked)[0] == pytest.approx(
        any_dimension(*[part[0] if part.ndim == 2 else np.diag(np.diag(part[0])) for part in stacked])
    )
    flat = [np.stack([part[..., :2] if part.ndim == 2 else part[..., :2, :2]])[0] for part in stacked]
    assert any_dimension(*flat) == pytest.approx(closed_form_2d(*flat))


def test_resampled_gaussians_of_four_dimensions_are_those_of_weighted_rows() -> None:
    rng = np.random.default_rng(1)
    vectors, sources = rng.normal(size=(12, 4)), np.repeat(["a", "b", "c"], [5, 3, 4])
    names, sums = source_sums(vectors, sources)
    assert names.tolist() == ["a", "b", "c"]
    assert sums.shape == (3, 1 + 4 + 10)
    means, covs = drawn_gaussians(sums, 3, 40, np.random.default_rng(2))
    counts = np.random.default_rng(2).multinomial(3, np.full(3, 1 / 3), size=40)
    for mean, cov, drawn in zip(means, covs, counts, strict=True):
        rows = np.concatenate([np.tile(vectors[sources == name], (n, 1)) for name, n in zip("abc", drawn, strict=True)])
        assert mean == pytest.approx(rows.mean(axis=0))
        assert cov == pytest.approx(np.cov(rows, rowvar=False), abs=1e-9)
    means, covs = resampled_gaussians(vectors, sources, 3000, seed=0)
    assert means.mean(axis=0) == pytest.approx(vectors.mean(axis=0), abs=0.05)
    assert (covs == covs.swapaxes(1, 2)).all()


# --- features ----------------------------------------------------------------------------------------------------


def test_root_shares_count_pixels() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (7, 6, 4)).astype(np.uint8)
    expected = [[np.sqrt((one == label).sum() / 24) for label in range(5)] for one in labels]
    assert root_shares(labels, parts_of(5)) == pytest.approx(np.array(expected))
    assert root_shares(labels[:0], parts_of(5)).shape == (0, 5)


def test_parts_join_left_and_right_and_what_is_worn() -> None:
    parts = dict(zip(CELEBAMASK_HQ, parts_of(19).tolist(), strict=True))
    for joined in (("left eye", "right eye", "glasses"), ("hair", "hat"), ("mouth", "upper lip", "lower lip")):
        assert len({parts[name] for name in joined}) == 1
    assert sorted(set(parts.values())) == list(range(10))
    mirrored = np.array([[[0, 1, 2, 4]]], np.uint8)
    assert root_shares(mirrored, parts_of(19)) == pytest.approx(root_shares(mirrored[..., ::-1], parts_of(19)))


def made_inception(path: Path) -> torch.nn.Module:
    """pytorch-fid's own network with random weights, which are written as its file has them."""
    from pytorch_fid import inception

    torch.manual_seed(0)
    kept: dict[str, Any] = {}

    def own(*_: object, **__: object) -> dict[str, torch.Tensor]:
        return kept["state"]

    def made() -> torch.nn.Module:
        base = inception.fid_inception_v3
        blank = {**base.__globals__, "load_state_dict_from_url": own}
        network = FunctionType(base.__code__, blank, base.__name__, base.__defaults__, base.__closure__)
        kept.setdefault("state", first_state())
        return network()

    def first_state() -> dict[str, torch.Tensor]:
        from pytorch_fid.inception import FIDInceptionA, FIDInceptionC, FIDInceptionE_1, FIDInceptionE_2
        from torchvision.models import inception_v3

        network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
        network.Mixed_5b, network.Mixed_5c, network.Mixed_5d = (
            FIDInceptionA(*s) for s in ((192, 32), (256, 64), (288, 64))
        )
        names = ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e")
        for name, width in zip(names, (128, 160, 160, 192), strict=True):
            setattr(network, name, FIDInceptionC(768, channels_7x7=width))
        network.Mixed_7b, network.Mixed_7c = FIDInceptionE_1(1280), FIDInceptionE_2(2048)
        return network.state_dict()

    original = inception.InceptionV3
    globals_ = {**original.__init__.__globals__, "fid_inception_v3": made}
    build = FunctionType(
        original.__init__.__code__, globals_, "__init__", original.__init__.__defaults__, original.__init__.__closure__
    )
    network = original.__new__(original)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(network)
    torch.save(kept["state"], path)
    return network.eval()


@pytest.mark.heavy
def test_inception_features_are_those_of_pytorch_fid(tmp_path: Path) -> None:
    file = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    reference = made_inception(file)
    vectors_of, path = inception_features(str(file), "cpu")
    labels = np.random.default_rng(0).integers(0, 19, (2, 32, 32)).astype(np.uint8)
    pictures = torch.from_numpy(np.array(label_colours(), np.uint8)[labels]).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected = reference(pictures)[0].flatten(1).numpy()
    assert path == file
    found = vectors_of(labels)
    assert found.shape == (2, 2048)
    assert np.ptp(expected) > 0
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    torch.save({"Mixed_7c.branch_pool.conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="other.pth: not pytorch-fid's Inception"):
        inception_features(str(tmp_path / "other.pth"), "cpu")


# --- the study ---------------------------------------------------------------------------------------------------


def compared(shifts: dict[str, list[float]], *, frames: int = 1, seed: int = 0, **settings: Any) -> ParsingReport:
    """A study of made-up vectors: 40 sources a generator, families with a generator for each shift."""
    rng, rows, vectors = np.random.default_rng(seed), [], []
    groups = [("real", "none", 0.0), *((f"{f}-{k}", f, s) for f, some in shifts.items() for k, s in enumerate(some))]
    for name, family, shift in groups:
        own = rng.normal(0.3, 0.05, (40, 3)) + [shift, 0, 0]
        vectors.append(np.repeat(own, frames, axis=0) + rng.normal(0, 0.01, (40 * frames, 3)))
        rows += [
            {
                "sample_id": f"{name}-{k:03d}", "dataset": "toy", "generator": name, "family": family,
                "forgery": "none" if name == "real" else "EFS", "detection_label": int(name != "real"),
                "source_key": f"{name}-{k // frames}",
            }
            for k in range(40 * frames)
        ]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame[PLACE] = np.arange(len(frame))
    asked = {"samples": 1000, "seed": 0, "resamples": 60, "equal_n": True, **settings}
    return compare_maps(frame, np.concatenate(vectors), separate_dimensions, **asked)


@pytest.mark.parametrize(
    ("gan", "diffusion", "verdict"),
    [
        ([0.02, 0.03, 0.04, 0.05], [0.2, 0.25, 0.3, 0.35], "as claimed"),
        ([0.2, 0.25, 0.3, 0.35], [0.02, 0.03, 0.04, 0.05], "not as claimed"),
        ([0.1, 0.2, 0.1, 0.2], [0.1, 0.2, 0.1, 0.2], "undecided"),
        ([0.1], [0.2], "too few generators to tell"),
        ([0.1], [], "no diffusion generator with enough faces"),
    ],
)
def test_the_claim_of_bmrl_is_that_gan_is_nearer(gan: list[float], diffusion: list[float], verdict: str) -> None:
    report = compared({"gan": gan, "diffusion": diffusion})
    assert report.claims[0].verdict == verdict
    assert report.claims[0].claim == "parsing-fid"
    assert (report.claims[0].gan, report.claims[0].diffusion) == (len(gan), len(diffusion))


def test_distances_count_sources_and_are_those_of_the_vectors() -> None:
    report = compared({"gan": [0.1], "diffusion": [0.0]}, frames=4)
    rows = {row.generator: row for row in report.rows}
    near, far = rows["diffusion-0"].measured, rows["gan-0"].measured
    assert (near.sources_fake, near.n) == (40, 160)
    assert far.low is not None
    assert far.low < 0.01 < far.high
    assert near.low == 0.0
    assert far.value > 3 * far.floor_high
    group = {(group.forgery, group.family): group for group in report.groups}
    assert group["", "gan"].value == pytest.approx(far.unbiased)
    assert (group["", "gan"].low, group["", "gan"].sources) == (pytest.approx(far.low), 40)
    bare = compared({"gan": [0.1], "diffusion": [0.0]}, resamples=0).rows[1].measured
    assert (bare.low, bare.floor, bare.debiased, bare.interval_verdict) == (None, None, bare.value, "not resampled")


def test_faces_without_a_map_are_counted_and_left_out() -> None:
    frame = pd.DataFrame(
        {
            "sample_id": list("abcd"), "dataset": "toy", "generator": ["real", "real", "g", "g"], "forgery": "EFS",
            "family": "gan", "detection_label": [0, 0, 1, 1], PLACE: [0, 1, 2, -1],
        }
    )  # fmt: skip
    settings = {"samples": 9, "seed": 0, "resamples": 10, "equal_n": True}
    (row,) = compare_maps(frame, np.eye(3), separate_dimensions, **settings).rows
    assert (row.found, row.without, row.verdict, row.measured.value) == (1, 1, "only 1 with a map", None)
    with pytest.raises(ManifestError, match="no real face with a parsing map"):
        compare_maps(frame[2:], np.eye(3), separate_dimensions, **settings)


# --- the command -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    """Six generators of six faces, and label maps that differ by generator, but of one face."""
    folder = tmp_path_factory.mktemp("parsing")
    manifest, frame = make(folder / "m", [f"g{k}" for k in range(6)], per=6, forgery="EFS")
    rng, labels = np.random.default_rng(0), folder / "labels"
    labels.mkdir()
    for number, (name, generator) in enumerate(zip(frame["sample_id"], frame["generator"], strict=True)):
        most = 5 if generator == "real" else 5 + int(generator[1])
        if number != len(frame) - 1:
            Image.fromarray(rng.integers(0, most, (SIDE, SIDE), dtype=np.uint8)).save(labels / f"{name}.png")
    return manifest, labels


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(dfad, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def test_the_command_prints_what_the_function_finds(faces: tuple[Manifest, Path]) -> None:
    manifest, labels = faces
    words = ("parsing-fid", "--manifest", manifest.folder, "--view", f"parsing.folder={labels}", "--side", 32)
    facts = json.loads(run(*words, "--samples", 4, "--json", "--quiet").stdout)
    views = {"parsing": {"folder": str(labels)}}
    found = dfad_api.parsing_study([manifest], views, side=32, samples=4)
    assert facts == json.loads(json.dumps(found.facts))
    assert max(row["n"] for row in facts["rows"]) == 4
    text = run(*words, "--samples", 4, "--quiet").stdout
    assert "Parsing FID, parser not named" in text


@pytest.mark.heavy
def test_the_command_prints_writes_and_draws(faces: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, labels = faces
    words = ("parsing-fid", "--manifest", manifest.folder, "--view", f"parsing.folder={labels}", "--side", 64)
    result = run(*words, "--view", "parsing.parser=SegFace", "--json", "--out", tmp_path, "--quiet")
    facts = json.loads(result.stdout)
    assert json.loads((tmp_path / "parsing.json").read_text()) == facts
    assert (facts["parser"], facts["features"], len(facts["rows"])) == ("SegFace", "shares", 6)
    assert sum(row["without"] for row in facts["rows"]) == 1
    by_distance = [row["generator"] for row in sorted(facts["rows"], key=lambda row: row["fid"])]
    assert by_distance == [f"g{k}" for k in range(6)]
    for stem in ("parsing-fid", "parsing-families"):
        assert all((tmp_path / f"{stem}.{suffix}").stat().st_size > 1000 for suffix in ("png", "svg", "pdf"))
    assert "stand-in" not in (tmp_path / "parsing.md").read_text()
    assert [table.title for table in parsing_tables(facts)][0] == "Parsing FID, parser SegFace"


def test_a_stand_in_says_so_in_every_table(faces: tuple[Manifest, Path]) -> None:
    manifest, _ = faces
    found = dfad_api.parsing_study([manifest], {"parsing": {"parser": "stand-in"}}, side=32, samples=3)
    assert "a stand-in's" in found.facts["notes"][0]
    for table in (found.tables[0], found.short_tables[0]):
        text = table.render("markdown")
        assert "parser stand-in" in text
        assert "not a face parser's" in text


@pytest.mark.heavy
def test_figures_of_a_stand_in_say_so(faces: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, _ = faces
    dfad_api.parsing_study([manifest], {"parsing": {"parser": "stand-in"}}, side=32, out=tmp_path, histogram="parts")
    for stem in ("parsing-fid", "parsing-families"):
        assert "stand-in for a parser" in (tmp_path / f"{stem}.svg").read_text()


def test_wrong_wishes_are_one_line(faces: tuple[Manifest, Path]) -> None:
    manifest, labels = faces
    here = {"parsing": {"folder": str(labels)}}
    result = run("parsing-fid", "--manifest", manifest.folder, "--quiet", code=1)
    assert "no parser: give weights" in result.stderr
    assert result.stdout == ""
    with pytest.raises(ConfigError, match="only settings of the view parsing"):
        dfad_api.parsing_study([manifest], {**here, "gaze": {}})
    with pytest.raises(UnknownNameError, match="no generator in these manifests named 'g9'"):
        dfad_api.parsing_study([manifest], here, generators=("g9",))
    with pytest.raises(ConfigError, match="fid_weights is a file of --features inception"):
        dfad_api.parsing_study([manifest], here, fid_weights="x.pth")
    with pytest.raises(WeightsError, match="'pt_inception' not found"):
        dfad_api.parsing_study([manifest], here, features="inception")
    with pytest.raises(ConfigError, match="histogram parts: of CelebAMask-HQ's 19 labels"):
        dfad_api.parsing_study([manifest], {"parsing": {"folder": str(labels), "classes": 30}}, histogram="parts")
