"""Weight files: found by name, checked by hash, never run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dfad_bench.core import weights
from dfad_bench.core.errors import IntegrityError, UnknownNameError, WeightsError

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.zeros(2)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[k], v) for k, v in STATE.items())


class Payload:
    """Runs code when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("wrapper", [None, "model_state", "state_dict", "model", "net"])
def test_wrappers_and_module_prefix_are_taken_off(tmp_path: Path, wrapper: str | None) -> None:
    path = tmp_path / "w.pth"
    state = {f"module.{key}": value for key, value in STATE.items()}
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, path)
    assert same(weights.load_state_dict(path))


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    assert same(weights.load_state_dict(path))


@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_payload_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    mark, path = tmp_path / "ran", tmp_path / "w.pth"
    torch.save({"state_dict": STATE, "extra": Payload(mark)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="not readable as weights") as caught:
        weights.load_state_dict(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_bare_pickle_payload_is_refused_and_not_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(Payload(mark), protocol=2))
    with pytest.raises(WeightsError, match="not readable as weights"):
        weights.load_state_dict(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 200])
def test_cut_files_are_one_line(tmp_path: Path, name: str, keep: int) -> None:
    whole, path = tmp_path / f"whole-{name}", tmp_path / name
    if name.endswith("pth"):
        torch.save(STATE, whole)
    else:
        save_file(STATE, whole)
    path.write_bytes(whole.read_bytes()[: min(keep, whole.stat().st_size - 1)])
    with pytest.raises(WeightsError, match="not readable as weights") as caught:
        weights.load_state_dict(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, {"model": {"a": "text"}}, torch.zeros(2)])
def test_other_content_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "w.pth"
    torch.save(value, path)
    with pytest.raises(WeightsError, match="does not hold a plain dict of tensors"):
        weights.load_state_dict(path)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> weights.WeightFile:
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180
    row = weights.WeightFile("toy", "toy.bin", origin="its page", licence="CC0", sha256=abc)
    monkeypatch.setattr(weights, "weight_files", lambda: {"toy": row})
    return row


def test_named_file_is_found_and_checked(
    tmp_path: Path, known: weights.WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DFAD_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match=r"get them from its page \(CC0\) .* set DFAD_WEIGHTS"):
        weights.find_weights("toy")
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"put them as .*toy\.bin"):
        weights.find_weights("toy")
    (tmp_path / known.file).write_text("abc")
    assert weights.find_weights("toy") == tmp_path / "toy.bin"
    (tmp_path / known.file).write_text("abd")
    with pytest.raises(IntegrityError, match="damaged or changed"):
        weights.find_weights("toy")


def test_path_or_unknown_name(tmp_path: Path, known: weights.WeightFile) -> None:
    (tmp_path / "mine.pth").touch()
    assert weights.find_weights(str(tmp_path / "mine.pth")) == tmp_path / "mine.pth"
    with pytest.raises(WeightsError, match=r"gone\.pth: no such weight file"):
        weights.find_weights("gone.pth")
    with pytest.raises(UnknownNameError, match="Did you mean toy"):
        weights.find_weights("toi")
