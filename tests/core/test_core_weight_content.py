"""What weight files hold, and what is found in their place: each is named in one line, and no code is run."""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.weight_files import NOT_READABLE, STATE, refused, same, saved
from safetensors.torch import save_file
from torch import nn

from dfad_bench.core import weight_content
from dfad_bench.core.errors import WeightsError
from dfad_bench.core.weights import find_weights, load_state_dict


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


def test_a_file_may_be_cut_anywhere_within_a_name(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.randn(50)}, tmp_path / "whole", _use_new_zipfile_serialization=False)
    content = (tmp_path / "whole").read_bytes()
    name = b"collections\nOrderedDict\n"
    start = content.index(name)
    for keep in range(start + 1, start + len(name) + 1):
        text = refused(written(tmp_path / "cut.pt", content[:keep]))
        assert "cut short" in text, content[start:keep]


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


def test_safetensors_are_told_by_content(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.bin")
    assert same(load_state_dict(tmp_path / "w.bin"))
    assert json.loads((tmp_path / "w.bin").read_bytes()[8:].split(b"}}")[0] + b"}}")
