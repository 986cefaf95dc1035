"""Named weight files: fetched whole and checked under their name, or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from helpers.file_server import Serving, serve
from safetensors.torch import save

from dfad_bench.api.weights import fetch_weights
from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import IntegrityError, WeightsError
from dfad_bench.core.resources import include
from dfad_bench.core.strict import yaml_text
from dfad_bench.core.weight_pins import PINS, read_pins
from dfad_bench.core.weights import find_weights

CONTENT = save({"fc.weight": torch.arange(60_000.0)})
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Payload:
    """Runs code when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def server() -> Iterator[Serving]:
    with serve(Serving(CONTENT)) as serving:
        yield serving


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def mine(server: Serving, tmp_path: Path) -> Iterator[Path]:
    """A folder to include with a row of the server's file."""
    write_row(tmp_path / "mine", server)
    with include(tmp_path / "mine"):
        yield tmp_path / "mine"


def write_row(mine: Path, server: Serving, **changes: object) -> None:
    row = {"file": "w.safetensors", "origin": "our server", "licence": "MIT", "source": server.url, **changes}
    mine.mkdir(exist_ok=True)
    (mine / "weights.yaml").write_text(yaml_text({"ours": row}), encoding="utf-8")


def run(mine: Path, *words: str) -> Result:
    return CliRunner().invoke(dfad, ["--include", str(mine), "weights", *words])


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".partial").rglob("*") if path.suffix != ".lock")


def test_fetched_pinned_checked_found(mine: Path, folder: Path, server: Serving) -> None:
    done = run(mine, "fetch", "ours", "--json")
    assert done.exit_code == 0, done.output
    (file,) = json.loads(done.stdout)["files"]
    assert (file["state"], file["sha256"], file["size"]) == ("fetched", SHA256, len(CONTENT))
    assert (folder / "w.safetensors").read_bytes() == CONTENT
    assert leftovers(folder) == []
    pin = read_pins(folder)["w.safetensors"]
    assert (pin.sha256, pin.source, pin.licence_accepted) == (SHA256, server.url, False)
    assert run(mine, "where", "ours").stdout.strip() == str(folder / "w.safetensors")
    checked = json.loads(run(mine, "check", "--json").stdout)["rows"]
    assert [(row["name"], row["verdict"]) for row in checked] == [("ours", "pinned")]
    assert json.loads(run(mine, "fetch", "ours", "--json").stdout)["files"][0]["state"] == "present"
    assert len(server.asked) == 1


@pytest.mark.heavy
def test_the_list_says_what_was_pinned_and_what_is_unknown(mine: Path, folder: Path) -> None:
    assert run(mine, "fetch", "ours").exit_code == 0
    listed = {row["name"]: row for row in json.loads(run(mine, "list", "--json").stdout)["rows"]}
    assert listed["ours"]["sha256"] == f"{SHA256} (pinned here)"
    assert listed["eth_xgaze"]["sha256"] == listed["eth_xgaze"]["size"] == "unknown"
    same = CliRunner().invoke(dfad, ["--include", str(mine), "list", "weights", "--long", "--json"])
    assert same.stdout == run(mine, "list", "--json").stdout


def test_a_file_exchanged_after_it_was_pinned_is_not_used(mine: Path, folder: Path, server: Serving) -> None:
    assert run(mine, "fetch", "ours").exit_code == 0
    other = save({"fc.weight": torch.zeros(5)})
    (folder / "w.safetensors").write_bytes(other)
    with include(mine), pytest.raises(IntegrityError, match="damaged or changed"):
        find_weights("ours")
    checked = run(mine, "check")
    assert checked.exit_code == 4
    assert "another file" in checked.output
    assert run(mine, "fetch", "ours").exit_code == 4
    (folder / "w.safetensors").unlink()
    server.content = other
    refused = run(mine, "fetch", "ours")
    assert refused.exit_code == 4
    assert "another file than was pinned on" in refused.output
    assert not (folder / "w.safetensors").exists()
    assert run(mine, "fetch", "ours", "--repin").exit_code == 0
    assert (folder / "w.safetensors").read_bytes() == other


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"sha256": "0" * 64}, 4, "the published file has 000000000000"),
        ({"sha256_starts": "00000000"}, 4, "the published file's begins with 00000000"),
        ({"size": 5}, 1, "expected 5; it is another file"),
        ({"source": None}, 1, "cannot be fetched by a program"),
        ({"licence": "CC BY-NC 4.0"}, 1, "add --accept-licence ours if you accept them"),
    ],
)
def test_files_that_are_not_taken(
    mine: Path, folder: Path, server: Serving, changes: dict[str, object], code: int, message: str
) -> None:
    write_row(mine, server, **changes)
    done = run(mine, "fetch", "ours", "--quiet")
    assert (done.exit_code, done.output.count("\n")) == (code, 1), done.output
    assert message in done.output
    assert not (folder / "w.safetensors").exists()
    assert leftovers(folder) == []


def test_right_hashes_and_accepted_licences(mine: Path, folder: Path, server: Serving) -> None:
    facts = {"sha256": SHA256, "size": len(CONTENT), "sha256_starts": SHA256[:8]}
    write_row(mine, server, **facts, licence="CC BY-NC 4.0, research only")
    done = run(mine, "fetch", "ours", "--accept-licence", "ours")
    assert done.exit_code == 0, done.output
    assert read_pins(folder)["w.safetensors"].licence_accepted
    assert json.loads(run(mine, "check", "ours", "--json").stdout)["rows"][0]["verdict"] == "published"


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_is_asked(mine: Path, folder: Path, server: Serving, answer: bool) -> None:
    write_row(mine, server, licence="as on its card")
    asked: list[str] = []
    with include(mine):
        found = fetch_weights(["ours"], ask=lambda row: asked.append(row.licence) or answer)  # type: ignore[func-returns-value]
    assert asked == ["as on its card"]
    assert bool(found.files) == answer == (not found.errors)


@pytest.mark.parametrize("kind", ["payload", "page", "text", "cut"])
def test_what_is_no_weight_file_is_refused_and_not_run(
    mine: Path, folder: Path, server: Serving, tmp_path: Path, kind: str
) -> None:
    write_row(mine, server, file="w.pth")
    mark = tmp_path / "ran"
    server.content = {
        "payload": pickle.dumps({"state_dict": Payload(mark)}, protocol=2),
        "page": b"<!doctype html><html>Sign in</html>",
        "text": b"version 1 of nothing\n",
        "cut": CONTENT[:-100],
    }[kind]
    done = run(mine, "fetch", "ours", "--quiet")
    assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
    assert "not readable as weights" in done.output
    assert not (folder / "w.pth").exists()
    assert leftovers(folder) == []
    assert not mark.exists()
    (folder / "w.pth").write_bytes(server.content)  # as if a person had put it there
    assert run(mine, "check").exit_code == 4
    assert run(mine, "check", str(folder / "w.pth")).exit_code == 4
    assert not mark.exists()


def test_nobody_there_says_what_to_put_where(mine: Path, folder: Path, server: Serving) -> None:
    write_row(mine, server, source="http://127.0.0.1:1/w.safetensors")
    done = run(mine, "fetch", "ours")
    assert done.exit_code == 1
    assert f"get them from our server (MIT) and put them as {folder / 'w.safetensors'}" in done.output
    where = run(mine, "where", "ours")
    assert where.exit_code == 1
    assert f"put them as {folder / 'w.safetensors'}" in where.output


def test_one_file_that_fails_leaves_the_others(mine: Path, folder: Path, server: Serving) -> None:
    done = run(mine, "fetch", "lida_resnet50", "ours")
    assert done.exit_code == 1
    assert (folder / "w.safetensors").is_file()
    assert "'lida_resnet50' cannot be fetched" in done.output


def test_two_fetches_at_once_fetch_once(mine: Path, folder: Path, server: Serving) -> None:
    server.before = lambda: time.sleep(0.3)
    states: list[str] = []

    def one() -> None:
        states.extend(file.state for file in fetch_weights(["ours"]).files)

    with include(mine):
        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(states) == ["fetched", "present"]
    assert len(server.asked) == 1


@pytest.mark.heavy
def test_a_fetch_that_is_killed_goes_on(mine: Path, folder: Path, server: Serving) -> None:
    server.stall_after = 100_000
    words = ["-m", "dfad_bench", "--include", str(mine), "weights", "fetch", "ours"]
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, env={**os.environ})
    part = folder / ".partial" / "w.safetensors"
    for _ in range(600):
        if part.is_file() and part.stat().st_size == 100_000:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "w.safetensors").exists()
    server.stall_after = None
    assert run(mine, "fetch", "ours").exit_code == 0
    assert server.ranges_asked == [None, "bytes=100000-"]
    assert (folder / "w.safetensors").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 2, "files": {}}', '{"version": 1, "files": {"a": {"sha256": 1}}}']
)
def test_a_damaged_list_of_pins_is_one_line(mine: Path, folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / PINS).write_text(text, encoding="utf-8")
    done = run(mine, "fetch", "ours", "--quiet")
    assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
    assert PINS in done.output


def test_folders_that_cannot_be_used(mine: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "w.safetensors").mkdir(parents=True)
    assert "is a folder, where the file of ours belongs" in run(mine, "fetch", "ours").output
    (tmp_path / "file").touch()
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path / "file"))
    done = run(mine, "fetch", "ours", "--quiet")
    assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
    assert "set DFAD_WEIGHTS to another folder" in done.output
    monkeypatch.delenv("DFAD_WEIGHTS")
    assert "DFAD_WEIGHTS is not set" in run(mine, "fetch", "ours").output
    assert run(mine, "fetch", "ourz").exit_code == 1
    assert "Did you mean ours?" in run(mine, "where", "ourz").output


def test_a_link_in_place_of_the_part_is_not_followed(mine: Path, folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (folder / ".partial").mkdir(parents=True)
    (folder / ".partial" / "w.safetensors").symlink_to(victim)
    run(mine, "fetch", "ours")
    assert victim.read_bytes() == b"mine"


def test_weights_error_is_the_class_of_all(mine: Path, folder: Path, server: Serving) -> None:
    server.status = 404
    with include(mine):
        found = fetch_weights(["ours"])
    assert isinstance(found.errors["ours"], WeightsError)
