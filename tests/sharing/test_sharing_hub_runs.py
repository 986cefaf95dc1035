"""Runs in repositories, by a hub on this machine: uploaded, fetched, kept, checked; a hostile one is one line."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from helpers.hub_server import Hub, serve_hub
from helpers.toy import SIDE
from safetensors.torch import save

import dfad_bench as dfad
from dfad_bench.api.run_source import run_path
from dfad_bench.api.shared_runs import push_run
from dfad_bench.api.weights import fetch_weights
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import read_json
from dfad_bench.core.record import plain, seal

REPO = "me/toy"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve_hub(Hub()) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.base)
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        monkeypatch.setenv("DFAD_CACHE", str(tmp_path / "cache"))
        yield served


@pytest.fixture(scope="session")
def shared(trained: Path) -> dict[str, bytes]:
    """The files of a shared run."""
    push_run(trained / "run", trained / "shared")
    folder = trained / "shared"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refusal(repo: str = REPO) -> str:
    with pytest.raises(DFADError) as caught:
        run_path(f"hf://{repo}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_uploaded_and_fetched_it_answers_to_the_bit(hub: Hub, run: Path, tmp_path: Path) -> None:
    words = ["push", str(run), "--out", str(tmp_path / "shared"), "--to", REPO, "--quiet"]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    (commit,) = hub.repos[REPO]
    assert f"Uploaded: {hub.base}/{REPO}/commit/{commit}" in done.output
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mine, theirs = (dfad.load_run(where).model(dfad.Inputs(images)) for where in (run, f"hf://{REPO}"))
    assert torch.equal(mine.attribution_logits, theirs.attribution_logits)
    assert torch.equal(mine.embedding, theirs.embedding)
    shown = [CliRunner().invoke(command, ["scores", "--run", where, "--format", "csv"]) for where in
             (str(run), f"hf://{REPO}")]  # fmt: skip
    assert shown[0].stdout == shown[1].stdout
    assert f"hf://{REPO} is commit {commit}" in shown[1].stderr
    folder = run_path(f"hf://{REPO}")
    assert folder == tmp_path / "cache" / "runs" / "me--toy" / commit
    assert {key: read_json(folder / "hub.json")[key] for key in ("repo", "revision", "asked")} == {
        "repo": REPO, "revision": commit, "asked": "main"
    }  # fmt: skip
    assert hub.fetched.count("model.safetensors") == 1
    assert dfad.scores(Path(f"hf://{REPO}")).rows == dfad.scores(run).rows


@pytest.mark.heavy
def test_only_files_of_a_run_are_asked_for(hub: Hub, shared: dict[str, bytes]) -> None:
    evil = {"pytorch_model.bin": b"x", "../x": b"x", "setup.py": b"x", "checkpoint/step-1/state.json": b"x"}
    hub.add(REPO, {**shared, **evil})
    folder = run_path(f"hf://{REPO}")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*shared, "hub.json"}
    assert set(hub.fetched) == {Path(name).name for name in shared}


def test_a_commit_that_is_there_needs_no_hub(
    hub: Hub, shared: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add(REPO, shared)
    folder = run_path(f"hf://{REPO}")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert run_path(f"hf://{REPO}@{commit}") == folder
    said: list[str] = []
    assert run_path(f"hf://{REPO}", report=said.append) == folder
    assert said == [f"hf://{REPO}: the hub was not asked; commit {commit[:12]}, as it was fetched before, is used"]
    text = refusal("me/other")
    assert "was not fetched here before: fetch the repository elsewhere (`hf download me/other" in text


@pytest.mark.heavy
def test_a_name_follows_the_hub_and_a_commit_does_not(hub: Hub, shared: dict[str, bytes]) -> None:
    first = hub.add(REPO, shared)
    assert run_path(f"hf://{REPO}").name == first
    second = hub.add(REPO, {**shared, "trace.csv": shared["trace.csv"]} | {"README.md": b"# other\n", **{}})
    assert second != first
    assert "README.md: " in refusal()  # its list of hashes has another card
    listing = json.loads(shared["sharing.json"])
    del listing["files"]["README.md"]
    third = hub.add(REPO, {**shared, "README.md": b"# other\n", "sharing.json": json.dumps(listing).encode()})
    assert run_path(f"hf://{REPO}").name == third
    assert run_path(f"hf://{REPO}@{first}").name == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run.json": None}, "no run of this toolkit: run.json missing"),
        ({"checkpoint/model.safetensors": pickle.dumps(os.getcwd)}, "checkpoint/model.safetensors"),
        ({"record.json": b"{}"}, "record.json"),
        ({"sharing.json": b"[]"}, "sharing.json"),
        ({"config.yaml": b""}, "config.yaml is of 0 bytes"),
    ],
)
def test_repositories_that_hold_something_else(
    hub: Hub, shared: dict[str, bytes], tmp_path: Path, changes: dict[str, bytes | None], message: str
) -> None:
    files = {**shared, **changes}
    hub.add(REPO, {name: content for name, content in files.items() if content is not None})
    assert message in refusal()
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != ".lock"]
    assert left == []


def test_a_pickle_in_the_place_of_weights_is_not_run_whatever_its_hashes(
    hub: Hub, run: Path, shared: dict[str, bytes], tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    evil = pickle.dumps(Payload(mark))
    digest = hashlib.sha256(evil).hexdigest()
    old = hashlib.sha256(shared["checkpoint/model.safetensors"]).hexdigest()
    changed = {name: content.replace(old.encode(), digest.encode()) for name, content in shared.items()}
    changed["checkpoint/model.safetensors"] = evil
    del changed["sharing.json"]
    record, facts = (json.loads(changed[name]) for name in ("record.json", "run.json"))
    record["run"]["files"] = facts["run"]["files"] = {}
    changed["run.json"] = json.dumps(facts).encode()
    sealed = plain(seal({key: value for key, value in record.items() if key != "record_id"}))
    changed["record.json"] = json.dumps(sealed).encode()
    hub.add(REPO, changed)
    folder = run_path(f"hf://{REPO}")
    with pytest.raises(DFADError) as caught:
        dfad.load_run(folder)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


class Payload:
    """Runs code when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.heavy
def test_files_other_than_the_hub_says_are_refused(hub: Hub, shared: dict[str, bytes], tmp_path: Path) -> None:
    hub.add(REPO, shared)
    content = shared["config.yaml"]
    hub.lies["config.yaml"] = content[:-1] + b"#"
    assert "config.yaml: what came has another hash than the hub says" in refusal()
    hub.lies.clear()
    hub.sizes["predictions.parquet"] = 5 << 40
    assert "predictions.parquet is of 5,497,558,138,880 bytes" in refusal()
    hub.sizes.clear()
    assert run_path(f"hf://{REPO}").is_dir()


def test_a_body_that_never_ends_is_ended_and_leaves_nothing(
    hub: Hub, shared: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfad_bench.sharing.hub_files._SPARE_BYTES", 1 << 20)
    hub.add(REPO, shared)
    hub.endless.add("checkpoint/model.safetensors")
    assert "model.safetensors: goes on after" in refusal()
    assert hub.sent < 100 << 20
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != ".lock"] == []
    hub.endless.clear()
    assert run_path(f"hf://{REPO}").is_dir()


def test_training_and_entries_begin_with_runs_of_repositories(
    hub: Hub, shared: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add(REPO, shared)
    folder = tmp_path / "cache" / "runs" / "me--toy" / commit
    given: list[Path] = []
    monkeypatch.setattr(
        "dfad_bench.api.training.train", lambda settings, *rest, **more: given.append(settings.finetune_from)
    )
    monkeypatch.setattr("dfad_bench.cli.train.show", lambda made, as_json: None)
    monkeypatch.setattr("dfad_bench.api.entries.submit", lambda runs, *rest, **more: given.extend(runs) or [])
    words = ["--model", "xception", "--protocol", "synthetic", "--manifest", "m", "--out", str(tmp_path / "new")]
    CliRunner().invoke(command, ["train", *words, "--finetune-from", f"hf://{REPO}"])
    CliRunner().invoke(command, ["submit", f"hf://{REPO}", "--out", str(tmp_path / "entries")])
    assert given == [folder, folder]


def test_no_such_repository_or_revision(hub: Hub, shared: dict[str, bytes]) -> None:
    hub.add(REPO, shared)
    assert "no such repository" in refusal("me/none")
    assert "no such revision" in refusal(f"{REPO}@v9")
    done = CliRunner().invoke(command, ["scores", "--run", "hf://../x"])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "expected hf://OWNER/NAME" in done.output


def test_a_weight_file_of_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path / "weights"))
    content = save({"a": torch.arange(9.0)})
    commit = hub.add("them/net", {"m.safetensors": content, "model.txt": b"x"})
    name = "hf://them/net/m.safetensors"
    refused = fetch_weights([name]).errors[name]
    assert "add --accept-licence" in str(refused)
    (file,) = fetch_weights([name], accept=[name]).files
    assert file.path.read_bytes() == content
    pins = read_json(tmp_path / "weights" / "weights.lock.json")["files"]
    assert pins[file.path.name]["revision"] == commit
    assert "no such file" in str(fetch_weights(["hf://them/net/none.pt"]).errors["hf://them/net/none.pt"])
    assert "is no weight file" in str(fetch_weights(["hf://them/net/model.txt"]).errors["hf://them/net/model.txt"])
    file.path.unlink()
    hub.lies["m.safetensors"] = content[:-1] + b"#"
    assert "another hash" in str(fetch_weights([name], accept=[name]).errors[name])
