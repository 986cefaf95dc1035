"""Which network a weight file belongs to, and one clear line for every file that does not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from gaze_states import save
from torch import nn

from dfad_bench.core.errors import WeightsError
from dfad_bench.core.notices import collect_notices
from dfad_bench.gaze.estimators.loading import (
    FAMILIES,
    family_of,
    fill_module,
    read_family,
    resnet_features,
    resnet_trunk,
    tensors_under,
    tensors_without,
)

MARKS = {
    "eth_xgaze": {"gaze_network.conv1.weight": (64, 3, 7, 7), "gaze_fc.0.weight": (2, 2048), "gaze_fc.0.bias": (2,)},
    "puregaze": {"feature.conv1.weight": (64, 3, 7, 7), "gazeEs.fc.weight": (2, 2048), "deconv.a": (1,)},
    "l2cs": {"conv1.weight": (64, 3, 7, 7), "fc_yaw_gaze.weight": (90, 2048), "fc_finetune.weight": (3, 2051)},
    "mobilegaze": {"conv1.weight": (64, 3, 7, 7), "fc_yaw.weight": (90, 512), "fc_pitch.weight": (90, 512)},
    "unigaze": {"vit.cls_token": (1, 1, 768), "gaze_fc.weight": (2, 768)},
    "faze": {"encoder.initial.conv1.weight": (64, 3, 7, 7), "gaze1.weight": (64, 6), "gaze2.weight": (3, 64)},
    "faze_maml": {"layer01.weights": (64, 6), "layer01.bias": (64,), "layer02.weights": (3, 64)},
    "gazetr": {"cls_token": (1, 1, 32), "feed.weight": (2, 32)},
    "gaze360": {"lstm.weight_ih_l0": (1024, 256), "last_layer.weight": (3, 512)},
    "eth_xgaze_resnet": {"layer1.0.conv1.weight": (64, 64, 3, 3), "fc.weight": (2, 512)},
    "imagenet_resnet": {"layer1.0.conv1.weight": (64, 64, 3, 3), "fc.weight": (1000, 512)},
}


def marks(family: str) -> dict[str, torch.Tensor]:
    return {key: torch.zeros(shape) for key, shape in MARKS[family].items()}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_family_is_told_by_its_keys(family: str) -> None:
    assert family_of(marks(family)) == family


def test_keys_of_nothing_known_have_no_family() -> None:
    assert family_of({"classifier.weight": torch.zeros(2, 512)}) is None
    assert family_of({}) is None


@pytest.mark.parametrize("wrapper", [None, "model_state", "state_dict", "model", "net"])
@pytest.mark.parametrize("legacy", [False, True])
def test_wrapped_prefixed_and_old_files_are_read(tmp_path: Path, wrapper: str | None, legacy: bool) -> None:
    path = save(marks("puregaze"), tmp_path / "w.pt", wrapper=wrapper, module=True, legacy=legacy)
    family, state = read_family(path, "puregaze")
    assert family == "puregaze"
    assert {key: tuple(value.shape) for key, value in state.items()} == MARKS["puregaze"]


def test_trainer_state_beside_the_weights_is_ignored(tmp_path: Path) -> None:
    network = nn.Linear(2048, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.zeros(1, 2048)).sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 10)
    content = {
        "epoch": 24,
        "model_state": marks("eth_xgaze"),
        "optim_state": optimiser.state_dict(),
        "scheule_state": schedule.state_dict(),  # spelled as published
    }
    path = tmp_path / "epoch_24_ckpt.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert read_family(path, "eth_xgaze")[0] == "eth_xgaze"


def test_safetensors_are_read(tmp_path: Path) -> None:
    assert read_family(save(marks("unigaze"), tmp_path / "w.safetensors"), "unigaze")[0] == "unigaze"


def one_line(call, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("prefix", ["model.", "module._orig_mod.net."])
def test_what_all_names_share_is_left_out(tmp_path: Path, family: str, prefix: str) -> None:
    path = save({prefix + key: value for key, value in marks(family).items()}, tmp_path / "w.pt")
    with collect_notices() as lines:
        assert read_family(path, family)[1].keys() == MARKS[family].keys()
    assert lines


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_nan_is_refused_by_name_also_where_it_is_not_used(tmp_path: Path, family: str) -> None:
    bad = {**marks(family), "unused.weight": torch.tensor([torch.inf])}
    one_line(lambda: read_family(save(bad, tmp_path / "w.pt"), family), r"NaN or inf in unused\.weight")


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    path = save(marks("l2cs"), tmp_path / "w.pt")
    one_line(
        lambda: read_family(path, "eth_xgaze", "eth_xgaze_resnet"),
        r"w\.pt: expected weights of ETH-XGaze ResNet-50 or ptgaze ResNet .* but the file looks like L2CS-Net",
    )


def test_unknown_keys_are_shown(tmp_path: Path) -> None:
    path = save({f"part{i}.weight": torch.zeros(1) for i in range(9)}, tmp_path / "w.pt")
    one_line(lambda: read_family(path, "faze"), r"has 9 tensors: part0\.weight, .*part3\.weight and 5 more")


class Payload:
    """Unpickled without care, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut short"])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    one_line(lambda: read_family(path, "faze"), r"w\.pt: not readable as weights")


def test_code_in_a_pickle_never_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = tmp_path / "w.pt"
    path.write_bytes(pickle.dumps({"state_dict": Payload(ran)}, protocol=2))
    one_line(lambda: read_family(path, "faze"), "not readable as weights")
    torch.save({"state_dict": Payload(ran)}, path)
    one_line(lambda: read_family(path, "faze"), "not readable as weights")
    assert not ran.exists()


def small() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def filled(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = {**module.state_dict(), **{key.replace("__", "."): value for key, value in changes.items()}}
    return {key: value for key, value in state.items() if value is not None}


def test_fill_converts_and_does_not_ask_for_counters() -> None:
    state = {key: value.half() for key, value in filled(**{"1__num_batches_tracked": None}).items()}
    module = small()
    fill_module(module, state, Path("w.pt"), "faze")
    assert all(value.dtype == torch.float32 for value in module.parameters())
    torch.testing.assert_close(module[0].weight, state["0.weight"].float())
    assert module.eval()(torch.ones(1, 3)).isfinite().all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"0__bias": None}, r"does not fit FAZE; missing: 0\.bias$"),
        ({"2__bias": torch.zeros(1)}, r"not known: 2\.bias$"),
        ({"0__weight": torch.zeros(2, 4)}, r"other shape: 0\.weight \(2, 4\) for \(2, 3\)$"),
        ({"0__bias": torch.zeros(2, dtype=torch.cfloat)}, r"other numbers: 0\.bias complex64 instead of float32$"),
    ],
)
def test_fill_says_what_does_not_fit(change: dict[str, torch.Tensor | None], match: str) -> None:
    one_line(lambda: fill_module(small(), filled(**change), Path("w.pt"), "faze"), match)


@pytest.mark.parametrize("kind", ["resnet18", "resnet34", "resnet50"])
def test_resnet_is_read_off_the_keys(kind: str) -> None:
    from torchvision import models

    with torch.device("meta"):
        state = models.get_model(kind, weights=None).state_dict()
    found = resnet_trunk(tensors_under({f"a.{key}": value for key, value in state.items()}, "a.")).state_dict()
    expected = tensors_without(state, "fc.")
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
    assert resnet_features(state) == state["fc.weight"].shape[1]
