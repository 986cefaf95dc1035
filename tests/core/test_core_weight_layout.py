"""From the content of a weight file to the tensors of a network: wrappers, prefixes, values."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.weight_files import STATE, fits, prefixed, refused, same, saved
from safetensors.torch import save_file
from torch import nn

from dfad_bench.core import weights
from dfad_bench.core.errors import WeightsError
from dfad_bench.core.notices import Notice, collect_notices
from dfad_bench.core.weights import load_into, load_state_dict

# --- wrappers and prefixes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapper", ["state_dict", "model_state_dict", "model_state", "model", "net", "model_ema", "ema", "state_dict_ema"]
)
def test_wrappers(tmp_path: Path, wrapper: str) -> None:
    path = saved(tmp_path / "w.pth", {wrapper: OrderedDict(STATE), "epoch": 3, "optimizer": {"state": {}}})
    with collect_notices() as lines:
        assert same(load_state_dict(path))
    averaged = "ema" in wrapper
    assert lines == ([f"w.pth: {wrapper!r} (averaged weights) is used"] if averaged else [])


def test_averaged_weights_beside_the_others_are_told_and_left(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"model": STATE, "model_ema": prefixed("x.")})
    with collect_notices() as lines:
        assert same(load_state_dict(path))
    assert lines == ["w.pth: 'model' is used, averaged weights ('model_ema') lie beside it"]


@pytest.mark.parametrize("prefix", ["backbone.", "model.", "module.", "_orig_mod.", "module._orig_mod.model.net."])
def test_what_all_names_share_is_left_out_and_told(tmp_path: Path, prefix: str) -> None:
    path = saved(tmp_path / "w.pth", {"state_dict": prefixed(prefix)})
    with collect_notices() as lines:
        assert same(load_state_dict(path, fits))
    assert lines
    assert all(part in " ".join(lines) for part in prefix.split(".")[:-1])


def test_names_that_fit_stay_as_they_are(tmp_path: Path) -> None:
    state = prefixed("main.")
    path = saved(tmp_path / "w.pth", state)
    with collect_notices() as lines:
        assert same(load_state_dict(path, lambda s: "main.conv1.weight" in s), state)
        assert same(load_state_dict(path), state)  # without knowledge of the network, nothing is guessed
    assert lines == []


def test_compiled_parts_of_a_model(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {name.replace(".", "._orig_mod.", 1): value for name, value in STATE.items()})
    with collect_notices() as lines:
        assert same(load_state_dict(path))
    assert lines == ["w.pth: '_orig_mod.' is left out of 3 of 3 names"]


def test_torch_averaged_model(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(nn.Linear(2, 1))
    path = saved(tmp_path / "w.pth", averaged.state_dict())
    with collect_notices():
        assert same(load_state_dict(path), dict(averaged.module.state_dict()))


def test_no_two_tensors_get_one_name(tmp_path: Path) -> None:
    state = {"module.a": torch.zeros(1), "a": torch.ones(1)}
    assert same(load_state_dict(saved(tmp_path / "w.pth", state)), state)


def test_the_part_that_fits_is_used_and_told(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {**prefixed("visual."), "logit_scale": torch.zeros(()), "text.a": torch.zeros(1)})
    with collect_notices() as lines:
        assert same(load_state_dict(path, fits))
    assert lines == ["w.pth: 'visual.' is used, 3 of 5 tensors"]


def test_two_parts_that_fit_are_not_chosen_between(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {**prefixed("student."), **prefixed("teacher.")})
    assert "student., teacher. are all networks that fit" in refused(path, fits=fits)


def test_without_a_listener_a_line_is_a_python_warning(tmp_path: Path) -> None:
    with pytest.warns(Notice, match="'backbone.', which all names begin with"):
        load_state_dict(saved(tmp_path / "w.pth", prefixed("backbone.")), fits)


# --- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_nan_and_inf_are_refused_by_name(tmp_path: Path, value: float, suffix: str, dtype: torch.dtype) -> None:
    state = {**STATE, "bad.weight": torch.tensor([1.0, value], dtype=dtype)}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"model": state}, path)
    assert refused(path) == "holds NaN or inf in bad.weight; get the file again"


def test_values_that_float32_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"a": torch.tensor([1e300], dtype=torch.float64)})
    assert "NaN or inf in a" in refused(path)


def test_masks_hold_inf_but_no_nan(tmp_path: Path) -> None:
    mask = torch.full((2, 2), -torch.inf).triu(1)
    assert "text.attn_mask" in load_state_dict(saved(tmp_path / "w.pth", {**STATE, "text.attn_mask": mask}))
    assert "attn_mask" in refused(saved(tmp_path / "w.pth", {**STATE, "attn_mask": mask * 0}))


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ({0: torch.zeros(1)}, "0 is a int"),
        ({"a\nb": 1}, r"a\nb is a int"),
        ({}, "but nothing"),
        ([torch.zeros(1)], "but a list"),
        ({"a": torch.eye(2).to_sparse()}, "a is sparse, quantised or without values"),
        ({"a": torch.zeros(1, device="meta")}, "a is sparse, quantised or without values"),
    ],
)
def test_what_is_no_plain_dict_of_tensors(tmp_path: Path, state: Any, cause: str) -> None:
    text = refused(saved(tmp_path / "w.pth", state))
    assert text.startswith("does not hold a plain dict of tensors")
    assert cause in text


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.int8])
def test_numbers_of_another_kind_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    model = nn.BatchNorm1d(2)
    state = {**model.state_dict(), "weight": torch.ones(2, dtype=dtype)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WeightsError, match=rf"weight {str(dtype)[6:]} instead of float32"):
            load_into(model, state, tmp_path / "w.pt", "a norm")
        state = {**model.state_dict(), "num_batches_tracked": torch.zeros((), dtype=torch.complex64)}
        with pytest.raises(WeightsError, match="num_batches_tracked complex64 instead of int64"):
            load_into(model, state, tmp_path / "w.pt", "a norm")
    half = {"weight": torch.ones(2, dtype=torch.float16)}
    load_into(model, half, tmp_path / "w.pt", "a norm", keep=model.state_dict())


def test_every_row_of_weights_yaml_that_lies_there_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    row = weights.weight_files()["openai_clip_vit_b32"]
    (tmp_path / row.file).touch()
    assert weights.row_of(tmp_path / row.file) == row
    assert weights.row_of(tmp_path / "other.pt") is None
    elsewhere = tmp_path / "elsewhere" / row.file
    elsewhere.parent.mkdir()
    elsewhere.touch()
    assert weights.row_of(elsewhere) is None
