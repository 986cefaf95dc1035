"""Gaze networks in their published layouts: they load, run, keep the contract, and their outputs' order is checked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gaze_manifests import write_eyes
from gaze_states import eth_xgaze_state, head, ptgaze_state, puregaze_state, resnet_keys, save, unigaze_state
from rendered_eyes import draw_faces

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError, UnknownNameError, WeightsError
from dfad_bench.core.registry import resolve
from dfad_bench.engine.fake_gpu import CUDA, FakeGPU, GPUError
from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators import ALIASES, ESTIMATORS
from dfad_bench.gaze.estimators.base import GazeEstimator, GazeFlag, remarks_of
from dfad_bench.gaze.estimators.build import build_estimator, estimator_class, estimator_names
from dfad_bench.gaze.estimators.eth_xgaze import EthXGazeEstimator
from dfad_bench.gaze.estimators.network import settings_of
from dfad_bench.gaze.estimators.puregaze import PureGazeEstimator
from dfad_bench.gaze.estimators.unigaze import transformer
from dfad_bench.gaze.table import VALUES, extract, stored_remarks

pytestmark = pytest.mark.usefixtures("one_thread")


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "eth_xgaze": lambda to: save(eth_xgaze_state(), to / "eth.pth.tar", wrapper="model_state", legacy=True),
    "ptgaze": lambda to: save(ptgaze_state(), to / "r18.pth", wrapper="model"),
    "ptgaze_swapped": lambda to: save(ptgaze_state(yaw_first=True), to / "swapped.pth", module=True),
    "puregaze": lambda to: save(puregaze_state(), to / "puregaze.pt"),
    "puregaze_r18": lambda to: save(puregaze_state("resnet18", yaw_first=True), to / "puregaze18.pt"),
    "unigaze": lambda to: save(unigaze_state(768, 2, 16), to / "uni.safetensors"),
    "unigaze_mean": lambda to: save(unigaze_state(768, 1, 16, pool="avg"), to / "uni.pt", wrapper="model_state"),
}


class Files(dict[str, Path]):
    """Weight files by layout, each written when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, name: str) -> Path:
        self[name] = LAYOUTS[name](self.folder)
        return self[name]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def network(files: Files) -> Callable[[str, str], GazeEstimator]:
    """Estimators by name and file: building one and checking the order of its outputs takes a second."""
    return cache(lambda name, file: build_estimator(name, str(files[file])))


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    crops, landmarks, *_ = draw_faces(3, seed=3)
    landmarks[2] = np.nan
    return crops, landmarks


def patch_tensor(faces: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
    """Normalised patches as the networks trained on ETH-XGaze take them, computed here."""
    images = normalize.normalize(*faces).images / 255.0
    normal = (images - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    return torch.from_numpy(normal.transpose(0, 3, 1, 2)).float()


# --- every network in its layout --------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("eth_xgaze", "eth_xgaze"),
        ("eth_xgaze", "ptgaze"),
        ("puregaze", "puregaze"),
        ("unigaze", "unigaze"),
        ("unigaze", "unigaze_mean"),
    ],
)
def test_published_layouts_load_and_keep_the_contract(network, faces, name: str, file: str) -> None:
    estimator = network(name, file)
    assert isinstance(estimator, GazeEstimator)
    assert estimator.name == name
    assert len(estimator.fingerprint) == 64
    result = estimator.estimate(*faces)
    for column in VALUES:
        assert getattr(result, column).shape == (3,)
    assert np.isfinite([result.pitch_rad, result.yaw_rad]).all()
    assert np.ptp(result.yaw_rad) > 1e-4  # the network sees the faces
    resized = GazeFlag.RESIZED | GazeFlag.NO_POSE
    assert result.flags.tolist() == [0, 0, resized]
    assert result.confidence.tolist() == [1, 1, 0]
    assert np.isnan(result.head_yaw_rad).tolist() == [False, False, True]
    for row in range(3):  # rows do not depend on each other
        alone = estimator.estimate(faces[0][row : row + 1], faces[1][row : row + 1])
        for column in VALUES:
            np.testing.assert_allclose(getattr(alone, column)[0], getattr(result, column)[row], atol=2e-6)


def test_no_faces_no_rows(network) -> None:
    estimator = network("eth_xgaze", "ptgaze")
    assert estimator.estimate(np.empty((0, 64, 64, 3), np.uint8), np.empty((0, 5, 2))).pitch_rad.shape == (0,)


def test_batches_of_any_size_give_the_same(network, faces, monkeypatch) -> None:
    estimator = network("eth_xgaze", "ptgaze")
    whole = estimator.estimate(*faces)
    monkeypatch.setattr(type(estimator), "batch_size", 2)
    np.testing.assert_allclose(estimator.estimate(*faces).yaw_rad, whole.yaw_rad, atol=2e-6)


@pytest.mark.parametrize(
    ("file", "kind", "fc"),
    [
        pytest.param("eth_xgaze", "resnet50", "gaze_fc.0", marks=pytest.mark.heavy),
        ("ptgaze", "resnet18", "fc"),
    ],
)
def test_eth_xgaze_is_torchvisions_resnet_with_two_outputs(
    files, network, faces, file: str, kind: str, fc: str
) -> None:
    from torchvision import models

    stored = torch.load(files[file], weights_only=True)
    state = next(value for value in stored.values() if isinstance(value, dict))
    state = {key.removeprefix("gaze_network."): value.float() for key, value in state.items()}
    with torch.device("meta"):
        reference = models.get_model(kind, weights=None)
        reference.fc = torch.nn.Linear(reference.fc.in_features, 2)
    trunk = {key: value for key, value in state.items() if not key.startswith(("fc.", "gaze_fc."))}
    classifier = {f"fc.{key}": state[f"{fc}.{key}"] for key in ("weight", "bias")}
    reference.load_state_dict({**trunk, **classifier}, assign=True)
    with torch.inference_mode():
        pitch, yaw = reference.eval()(patch_tensor(faces)).T.numpy()
    result = network("eth_xgaze", file).estimate(*faces)
    np.testing.assert_allclose(result.pitch_rad, pitch, atol=1e-5)
    np.testing.assert_allclose(result.yaw_rad, yaw, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "depth"),
    [
        ("base_patch16", 12),
        pytest.param("large_patch16", 24, marks=pytest.mark.heavy),
        pytest.param("huge_patch14", 32, marks=pytest.mark.heavy),
    ],
)
def test_unigaze_reads_its_size_off_the_shapes(kind: str, depth: int) -> None:
    import timm

    with torch.device("meta"):
        reference = timm.create_model(f"vit_{kind}_224", num_classes=0)
    expected = reference.state_dict()
    state = {f"vit.{key}": value for key, value in expected.items()}
    found = transformer(state, Path("w.safetensors"))
    assert {k: v.shape for k, v in found.state_dict().items()} == {k: v.shape for k, v in expected.items()}
    assert len(found.blocks) == depth
    assert found.blocks[0].attn.num_heads == reference.blocks[0].attn.num_heads


@pytest.mark.heavy
def test_unigaze_pools_as_its_last_norm_says(network) -> None:
    means, token = (network("unigaze", name) for name in ("unigaze_mean", "unigaze"))
    assert (means.network.vit.global_pool, token.network.vit.global_pool) == ("avg", "token")


def test_an_unknown_transformer_is_one_line() -> None:
    for shape, match in (
        ((384, 3, 16, 16), "16 px, 384 wide"),
        ((768, 3, 0, 0), "0 px, 768 wide"),
        ((), "0 px, 0 wide"),
    ):
        with pytest.raises(WeightsError, match=rf"patches of {match}; known: 14 or 16 px, \[768, 1024, 1280\] wide"):
            transformer({"vit.patch_embed.proj.weight": torch.zeros(shape)}, Path("w.pt"))


@pytest.mark.parametrize(
    "key", ["gaze_fc.0.weight", pytest.param("gaze_network.layer3.5.conv3.weight", marks=pytest.mark.heavy)]
)
def test_a_file_with_one_layer_of_another_shape_is_one_line(tmp_path: Path, key: str) -> None:
    state = {**eth_xgaze_state(), key: torch.zeros(2, 512)}
    with pytest.raises(WeightsError, match=rf"does not fit ETH-XGaze ResNet-50; other shape: {key} \(2, 512\) for"):
        build_estimator("eth_xgaze", str(save(state, tmp_path / "w.pt")))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_the_cpu_gives(files, faces) -> None:
    here, there = (build_estimator("eth_xgaze", str(files["eth_xgaze"])).estimate(*faces, d) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(there.pitch_rad, here.pitch_rad, atol=1e-5)
    np.testing.assert_allclose(there.yaw_rad, here.yaw_rad, atol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "file"),
    [("eth_xgaze", "eth_xgaze"), ("eth_xgaze", "ptgaze"), ("puregaze", "puregaze"), ("unigaze", "unigaze")],
)
def test_all_lies_on_the_gpu_until_the_angles_come_down(files, name: str, file: str) -> None:
    estimator = build_estimator(name, str(files[file]))
    with FakeGPU() as gpu:
        gpu.take(estimator.network)
        estimator._device = CUDA
        with pytest.raises(GPUError, match=r"a tensor is brought down, network.py line .*parts.append"):
            estimator._run(np.zeros((2, normalize.PATCH_SIDE, normalize.PATCH_SIDE, 3), np.uint8))


def test_puregaze_sees_bgr_from_0_to_1(files) -> None:
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[..., 0] = 255  # red
    assert PureGazeEstimator(files["puregaze_r18"]).tensor(image)[0, :, 0, 0].tolist() == [0, 0, 1]
    rgb = PureGazeEstimator(files["puregaze_r18"], channel="rgb", norm="signed")
    assert rgb.tensor(image)[0, :, 0, 0].tolist() == [1, -1, -1]


# --- order of the outputs ---------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_puregaze_trained_elsewhere_is_swapped_and_says_so(files, faces) -> None:
    swapped = PureGazeEstimator(files["puregaze_r18"])
    (remark,) = remarks_of(swapped)
    assert remark.startswith("outputs swapped: the mirror check says yaw_pitch, not pitch_yaw")
    named = PureGazeEstimator(files["puregaze_r18"], order="yaw_pitch")
    assert remarks_of(named) == ()
    found, expected = swapped.estimate(*faces), named.estimate(*faces)
    np.testing.assert_array_equal(found.pitch_rad, expected.pitch_rad)
    np.testing.assert_array_equal(found.yaw_rad, expected.yaw_rad)
    assert swapped.fingerprint != named.fingerprint


def test_eth_xgaze_with_swapped_outputs_is_refused(files, faces) -> None:
    estimator = build_estimator("eth_xgaze", str(files["ptgaze_swapped"]))
    with pytest.raises(WeightsError, match="look like yaw_pitch, not pitch_yaw") as caught:
        estimator.estimate(*faces)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="look like yaw_pitch"):
        remarks_of(estimator)


@pytest.mark.heavy
def test_an_order_named_by_the_user_is_kept_with_a_remark(files, faces) -> None:
    wrong = EthXGazeEstimator(files["ptgaze"], order="yaw_pitch")
    (remark,) = wrong.remarks
    assert "as asked for, against the mirror check" in remark
    right = EthXGazeEstimator(files["ptgaze"])
    assert right.remarks == ()
    np.testing.assert_array_equal(wrong.estimate(*faces).pitch_rad, right.estimate(*faces).yaw_rad)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["random", "zeros"])
def test_untrained_weights_are_refused(tmp_path: Path, faces, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    state = resnet_keys("resnet18")
    state["fc.weight"], state["fc.bias"] = head(512)
    for key, value in state.items():
        if key.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
            value.fill_(1)
        elif value.ndim > 1 and kind == "random":
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
    estimator = build_estimator("eth_xgaze", str(save(state, tmp_path / "untrained.pth")))
    with pytest.raises(
        WeightsError, match=r"do not behave as pitch and yaw in the mirror.*--estimator eth_xgaze:pitch_yaw"
    ):
        estimator.estimate(*faces)


@pytest.mark.heavy
def test_the_check_does_not_depend_on_the_faces_asked_for(files, faces) -> None:
    first, second = (PureGazeEstimator(files["puregaze_r18"]) for _ in range(2))
    one = first.estimate(faces[0][:1], faces[1][:1])
    whole = second.estimate(*faces)
    assert first.remarks == second.remarks
    np.testing.assert_allclose(one.yaw_rad, whole.yaw_rad[:1], atol=2e-6)


def test_settings_are_checked_and_change_the_fingerprint(files) -> None:
    with pytest.raises(ConfigError, match="norm: must be one of imagenet, unit, signed, got 'none'"):
        EthXGazeEstimator(files["ptgaze"], norm="none")  # type: ignore[arg-type]
    kinds = [{}, {"norm": "unit"}, {"channel": "bgr"}, {"order": "pitch_yaw"}]
    prints = {EthXGazeEstimator(files["ptgaze"], **kind).fingerprint for kind in kinds}
    assert len(prints) == 4
    assert EthXGazeEstimator(files["ptgaze_swapped"]).fingerprint not in prints


# --- names and files --------------------------------------------------------------------------------------------


def test_missing_weights_say_where_to_get_them(monkeypatch, tmp_path: Path, files) -> None:
    monkeypatch.delenv("DFAD_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match=r"eth_xgaze needs weights: .*epoch_24_ckpt.*or use eth_xgaze_r18"):
        build_estimator("eth_xgaze")
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    (tmp_path / "eth_xgaze_r18.pth").symlink_to(files["ptgaze"])
    assert build_estimator("eth_xgaze").fingerprint == build_estimator("eth_xgaze", str(files["ptgaze"])).fingerprint


@pytest.mark.parametrize(
    ("name", "file"), [("eth_xgaze", "puregaze_r18"), ("puregaze", "ptgaze"), ("unigaze", "ptgaze")]
)
def test_another_networks_file_is_one_line(files, name: str, file: str) -> None:
    with pytest.raises(WeightsError, match="expected weights of .* but the file looks like") as caught:
        build_estimator(name, str(files[file]))
    assert "\n" not in str(caught.value)


def test_aliases_are_names_too(monkeypatch) -> None:
    assert ALIASES == {"park": "faze"}
    assert set(estimator_names()) == {*ESTIMATORS, *ALIASES}
    monkeypatch.setitem(ESTIMATORS, "faze", ESTIMATORS["geometric"])
    assert estimator_class("park") is resolve("estimator", "geometric", ESTIMATORS)
    assert build_estimator("park").name == "geometric"
    with pytest.raises(UnknownNameError, match="Did you mean park"):
        build_estimator("parc")


def test_extraction_stores_a_networks_gaze(files, tmp_path: Path) -> None:
    manifest, _ = write_eyes(tmp_path / "toy", count=9, seed=0, without_landmarks=2)
    table = extract(manifest, "eth_xgaze", weights=str(files["ptgaze"]))
    assert len(table) == 9
    assert np.isfinite(table["yaw_rad"]).all()
    assert int((table["flags"].to_numpy() & GazeFlag.RESIZED.value != 0).sum()) == 2
    assert list((tmp_path / "toy" / "tables").glob("gaze-eth_xgaze-*.parquet"))
    assert stored_remarks(manifest, build_estimator("eth_xgaze", str(files["ptgaze"]))) == ()


@pytest.mark.heavy
def test_remarks_go_into_the_record_and_to_the_reader(files, tmp_path: Path) -> None:
    manifest, _ = write_eyes(tmp_path / "toy", count=3, seed=0)
    arguments = ["--manifest", str(manifest.folder), "--weights", str(files["puregaze_r18"]), "--quiet"]
    ran = CliRunner().invoke(dfad, ["gaze-extract", "--estimator", "puregaze", *arguments])
    assert ran.exit_code == 0, ran.output
    assert "puregaze, toy: outputs swapped: the mirror check says yaw_pitch" in ran.stderr
    estimator = build_estimator("puregaze", str(files["puregaze_r18"]))
    assert stored_remarks(manifest, estimator) == remarks_of(estimator)
    wrong = ["--estimator", "eth_xgaze", "--manifest", str(manifest.folder), "--weights", str(files["ptgaze_swapped"])]
    refused = CliRunner().invoke(dfad, ["gaze-extract", *wrong, "--quiet"])
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "look like yaw_pitch, not pitch_yaw" in refused.stderr


def test_settings_follow_the_name(files) -> None:
    assert settings_of("unit,pitch_yaw") == {"norm": "unit", "order": "pitch_yaw"}
    for words in ("", "bgr,rgb", "order=bgr"):
        with pytest.raises(ConfigError, match="known are pitch_yaw, yaw_pitch, rgb, bgr, imagenet, unit, signed"):
            settings_of(words)
    with pytest.raises(ConfigError, match="geometric has no settings; leave ':bgr' out"):
        build_estimator("geometric:bgr")
    with pytest.raises(UnknownNameError, match="Did you mean eth_xgaze"):
        build_estimator("eth_xgase:bgr")
    built = build_estimator("eth_xgaze:yaw_pitch,bgr", str(files["ptgaze"]))
    asked = EthXGazeEstimator(files["ptgaze"], order="yaw_pitch", channel="bgr")
    assert built.fingerprint == asked.fingerprint
