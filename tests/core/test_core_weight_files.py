"""Weight files as people have them: every layout in its form, every cause of refusal by name, no code run."""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dfad_bench.core import weight_content, weights
from dfad_bench.core.errors import WeightsError
from dfad_bench.core.notices import Notice, collect_notices
from dfad_bench.core.weights import find_weights, load_into, load_state_dict

NAMES = ("conv1.weight", "bn1.running_mean", "fc.bias")
STATE = {name: torch.arange(4.0) + i for i, name in enumerate(NAMES)}
NOT_READABLE = "not readable as weights: "


def fits(state: Any) -> bool:
    return "conv1.weight" in state


def refused(path: Path, **more: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WeightsError) as caught:
            load_state_dict(path, **more)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[k], v) for k, v in expected.items())


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def prefixed(prefix: str, state: dict[str, torch.Tensor] = STATE) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


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


# --- what lies in the place of weights --------------------------------------------------------------------------


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 353976522\n"


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w.pth.tar"])
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (LFS, "it is a Git LFS pointer, not the file of 353,976,522 bytes itself; run `git lfs pull`"),
        (b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning", "it is a web page, not the file"),
        (b"\n <HTML lang=en>", "it is a web page"),
        (b'<?xml version="1.0"?>\n<html xmlns="x">', "it is a web page"),
        (b"", "it is empty"),
        (b"Entry not found", "it is a text, which begins with 'Entry not found'"),
        (b'{"error": "Access denied"}', "it is a text, which begins with"),
        (gzip.compress(b"x"), "it is a gzip archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file"),
        (bytes(range(256)), "it is "),
    ],
    ids=["lfs", "html", "html-upper", "xhtml", "empty", "text", "json", "gzip", "hdf5", "bytes"],
)
def test_stand_ins_are_named(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    assert refused(written(tmp_path / name, content)).startswith(NOT_READABLE + cause)


@pytest.mark.parametrize("content", [LFS, b"<html>"])
def test_stand_ins_are_found_before_hashes(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    written(tmp_path / "face_landmarker.task", content)
    for name in ("mediapipe_face_landmarker", str(tmp_path / "face_landmarker.task")):
        with pytest.raises(WeightsError, match="it is a "):
            find_weights(name)


def test_tar_and_other_zip_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "w.tar", "w") as archive:
        archive.add(saved(tmp_path / "w.pth", STATE), "w.pth")
    assert "it is a tar archive" in refused(tmp_path / "w.tar")
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.write(tmp_path / "w.pth", "w.pth")
    assert "it is a zip archive of other files" in refused(tmp_path / "w.zip")


def test_folders(tmp_path: Path) -> None:
    snapshot, unpacked, empty = tmp_path / "clip", tmp_path / "w.pth", tmp_path / "empty"
    for folder in (snapshot, unpacked, empty):
        folder.mkdir()
    save_file(STATE, snapshot / "open_clip_model.safetensors")
    (snapshot / "config.json").write_text("{}")
    (unpacked / "data.pkl").touch()
    for folder, cause in (
        (snapshot, "it is a folder; name a file in it (open_clip_model.safetensors)"),
        (unpacked, "it is a folder, a PyTorch file that was unpacked"),
        (empty, "it is a folder without weight files"),
    ):
        assert refused(folder).startswith(NOT_READABLE + cause)
        with pytest.raises(WeightsError, match="it is a folder"):
            find_weights(str(folder))


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_files_that_were_cut_short(tmp_path: Path, kind: str) -> None:
    whole = tmp_path / f"whole.{kind}"
    state = {f"layer{i}.weight": torch.randn(50) for i in range(4)}
    if kind == "safetensors":
        save_file(state, whole)
    else:
        torch.save(state, whole, _use_new_zipfile_serialization=kind == "zip")
    content = whole.read_bytes()
    for keep in (1, 5, 20, 100, 300, len(content) // 2, len(content) - 1):
        text = refused(written(tmp_path / f"cut.{kind}", content[:keep]))
        assert text.startswith(NOT_READABLE)
        if keep >= 300:
            assert "cut short" in text, keep


def test_flipped_bits_are_found_by_the_checksums_of_a_zip_file(tmp_path: Path) -> None:
    state = {"a": torch.full((1000,), 0.5)}
    content = bytearray(saved(tmp_path / "w.pth", state).read_bytes())
    place = content.find(torch.full((4,), 0.5).numpy().tobytes())
    content[place + 100] ^= 1
    assert "it is damaged (the checksum of 'w/data/0' differs)" in refused(written(tmp_path / "w.pth", bytes(content)))


# --- code -------------------------------------------------------------------------------------------------------


def test_names_in_a_zip_file_that_are_no_text(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", STATE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("w/é", b"x")  # marked as UTF-8
    whole = path.read_bytes()
    name = "w/é".encode()
    assert whole.count(name) == 2
    for which in (0, 1):  # before the member, and in the list at the end
        at = [k for k in range(len(whole)) if whole.startswith(name, k)][which]
        path.write_bytes(whole[:at] + b"w/\xff\xff" + whole[at + 4 :])
        assert "it is damaged (UnicodeDecodeError)" in refused(path)


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


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("extra", "name"),
    [(argparse.Namespace(lr=1), "argparse.Namespace"), (nn.Linear(1, 1), "torch.nn.modules.linear.Linear")],
)
def test_code_that_a_file_needs_is_named(tmp_path: Path, legacy: bool, extra: Any, name: str) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": STATE, "args": extra}, path, _use_new_zipfile_serialization=not legacy)
    text = refused(path)
    assert text.startswith(f"{NOT_READABLE}it needs {name}, code that is not run here")
    assert "weights_only" not in text


def test_nothing_of_torch_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scripted(tmp_path / "script.pt")
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        load_state_dict(tmp_path / "script.pt")
        with pytest.raises(WeightsError):
            load_state_dict(saved(tmp_path / "code.pt", {"a": argparse.Namespace()}))
    assert capfd.readouterr() == ("", "")


# --- TorchScript ------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Parameters, buffers, numbers, lists, a tensor that is neither, modules inside modules, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.second[0].weight = self.first.weight
        self.register_buffer("input_resolution", torch.tensor(224))
        self.plain = torch.full((3, 3), -torch.inf).triu(1)
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x)) * torch.sigmoid(1.702 * x) + self.plain.sum() * 0


def scripted(path: Path, *, trace: bool = False, half: bool = False) -> dict[str, torch.Tensor]:
    """Write an archive; what PyTorch says its state dict is."""
    module = Block().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = torch.jit.trace(module, torch.zeros(2, 3)) if trace else torch.jit.script(module)
        torch.jit.save(done.half() if half else done, path)
        return {name: value.clone() for name, value in torch.jit.load(path).state_dict().items()}


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_an_archives_tensors_are_those_pytorch_finds(tmp_path: Path, trace: bool, half: bool) -> None:
    expected = scripted(tmp_path / "w.pt", trace=trace, half=half)
    found = load_state_dict(tmp_path / "w.pt")
    assert same(found, expected)
    assert {name: value.dtype for name, value in found.items()} == {k: v.dtype for k, v in expected.items()}


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def repacked(path: Path, out: Path, change: dict[str, bytes]) -> Path:
    """The archive with some members replaced, checksums right."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, change.get(info.filename.partition("/")[2], old.read(info)))
    return out


def test_no_code_of_an_archive_runs(tmp_path: Path) -> None:
    scripted(tmp_path / "w.pt")
    mark = tmp_path / "ran"
    for content in (
        pickle.dumps(Payload(mark), protocol=2),
        b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR.",
    ):
        text = refused(repacked(tmp_path / "w.pt", tmp_path / "bad.pt", {"data.pkl": content}))
        assert "it is a TorchScript archive that refers to " in text
        assert "safetensors" in text
    assert not mark.exists()


def module_with(tensor: str) -> bytes:
    """A pickle of a module whose only buffer is rebuilt by `_rebuild_tensor_v2` from these arguments."""
    rebuilt = f"ctorch._utils\n_rebuild_tensor_v2\n({tensor}I00\nNtR"
    return f"c__torch__\nBlock\n(t\x81(S'input_resolution'\n{rebuilt}db.".encode("latin-1")


def storage(count: int) -> str:
    return f"(S'storage'\nctorch\nLongStorage\nS'0'\nS'cpu'\nI{count}\ntQ"


def test_a_module_with_one_tensor_is_read(tmp_path: Path) -> None:
    scripted(tmp_path / "w.pt")
    content = module_with(storage(1) + "I0\n(t(t")
    path = repacked(tmp_path / "w.pt", tmp_path / "one.pt", {"data.pkl": content})
    assert same(load_state_dict(path), {"input_resolution": torch.tensor(224)})


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02c__torch__\nBlock\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb.",  # a module that holds itself
        b"\x80\x02c__torch__\nBlock\n)\x81r\xff\xff\xff\xff.",  # a memo of four billion entries
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00.",  # bytes of an absurd length
        module_with(storage(1) + "I0\n(I1000000000\nt(I0\nt"),  # one number, a thousand million times
        module_with(storage(1) + "I5\n(I9\nt(I1\nt"),  # outside of its storage
        module_with(storage(1) + "I-1\n(I1\nt(I1\nt"),
        module_with(storage(10**12) + "I0\n(I1\nt(I1\nt"),  # more than there is
        module_with("NI0\n(I1\nt(I1\nt"),
        b"",
        b"]" * 50 + b".",
    ],
)
def test_hostile_archives_are_one_line(tmp_path: Path, content: bytes) -> None:
    scripted(tmp_path / "w.pt")
    text = refused(repacked(tmp_path / "w.pt", tmp_path / "bad.pt", {"data.pkl": content}))
    assert "it is a TorchScript archive" in text or text.endswith("but nothing")


def test_archives_that_claim_more_than_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_content, "_SLACK", 1 << 16)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("data.pkl", b"."), ("constants.pkl", b"."), ("code/bomb.py", bytes(1 << 17))):
            archive.writestr(f"w/{name}", content)
    assert "claims to hold more than its own size" in refused(tmp_path / "bomb.pt")


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


def test_safetensors_are_told_by_content(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.bin")
    assert same(load_state_dict(tmp_path / "w.bin"))
    assert json.loads((tmp_path / "w.bin").read_bytes()[8:].split(b"}}")[0] + b"}}")
