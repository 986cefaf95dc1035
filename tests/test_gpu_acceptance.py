"""The command for a GPU: what it keeps, skips, goes on with and says, with stub items; two real ones on the CPU."""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toy import SEEN, UNSEEN, toy_manifests

from dfad_bench.core.errors import DFADError
from dfad_bench.core.registry import model_names
from dfad_bench.report.table import Column

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("item", "journal", "page", "plan", "models", "faces")


@pytest.fixture(scope="module")
def gpu() -> SimpleNamespace:
    """The command and the modules of its package."""
    if not (ROOT / "benchmarks" / "gpu_acceptance.py").is_file():
        pytest.skip("not a checkout: benchmarks are not shipped in the wheel")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        modules: dict[str, ModuleType] = {name: importlib.import_module(f"gpu_items.{name}") for name in PARTS}
        return SimpleNamespace(command=importlib.import_module("gpu_acceptance"), **modules)
    finally:
        sys.path.pop(0)


@pytest.fixture
def bench(gpu: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(gpu.item.Bench, "free_memory", lambda self: None)  # half a second each in a large process
    return gpu.item.Bench(torch.device("cpu"), tmp_path)


def stub(gpu: SimpleNamespace, name: str, rows: Callable[[], Any] = lambda: [{"n": 1}], seconds: float = 0.0) -> Any:
    """An item that gives `rows()`, and is expected to take so long."""
    return gpu.item.Item(name, (seconds, seconds), lambda bench: rows())


def raising(error: BaseException) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def journal_of(gpu: SimpleNamespace, folder: Path, key: str = "k") -> Any:
    return gpu.journal.Journal(folder / "x.json", {"device": "stub", "on_gpu": False, "faces": "drawn"}, key)


def stored(folder: Path) -> dict[str, Any]:
    return {entry["name"]: entry for entry in json.loads((folder / "x.json").read_text())["items"]}


def test_every_end_of_an_item_is_kept_and_the_next_is_measured(
    gpu: SimpleNamespace, bench: Any, tmp_path: Path
) -> None:
    seen_by_last: dict[str, Any] = {}
    items = [
        stub(gpu, "a/good"),
        stub(gpu, "a/bad", raising(RuntimeError("out of\nmemory " + "x" * 999))),
        stub(gpu, "a/refused", raising(DFADError("no such thing"))),
        stub(gpu, "a/long", seconds=1000),
        stub(gpu, "a/absent", raising(gpu.item.NotMeasuredError("no second GPU"))),
        stub(gpu, "a/last", lambda: seen_by_last.update(stored(tmp_path)) or []),
    ]
    said: list[str] = []
    failed = gpu.journal.run_items(items, bench, journal_of(gpu, tmp_path), 60, said.append)
    found = stored(tmp_path)
    assert failed == ["a/bad", "a/refused"]
    assert [found[item.name]["status"] for item in items] == [
        "done", "failed", "failed", "skipped", "not measured", "done",
    ]  # fmt: skip
    assert found["a/bad"]["reason"].startswith("RuntimeError: out of memory")
    assert len(found["a/bad"]["reason"]) < 300
    assert "would take about 1000 s" in found["a/long"]["reason"]
    assert found["a/absent"]["reason"] == "no second GPU"
    assert list(seen_by_last) == [item.name for item in items[:-1]]  # written after each of them
    assert len(said) == len(items)


def test_the_same_command_goes_on_with_what_is_not_done(gpu: SimpleNamespace, bench: Any, tmp_path: Path) -> None:
    calls: list[str] = []

    def counted(name: str, *, fails: bool = False, seconds: float = 0.0) -> Any:
        def rows() -> list[dict[str, int]]:
            calls.append(name)
            if fails:
                raise ValueError("once")
            return [{"n": len(calls)}]

        return stub(gpu, name, rows, seconds)

    items = [counted("done"), counted("failing", fails=True), counted("too-long", seconds=1000)]
    gpu.journal.run_items(items, bench, journal_of(gpu, tmp_path), 60, lambda line: None)
    before = stored(tmp_path)["done"]
    items[1:] = [counted("failing"), counted("too-long")]
    assert gpu.journal.run_items(items, bench, journal_of(gpu, tmp_path), 60, lambda line: None) == []
    assert calls == ["done", "failing", "failing", "too-long"]
    assert stored(tmp_path)["done"] == before
    gpu.journal.run_items(items, bench, journal_of(gpu, tmp_path, "other code"), 60, lambda line: None)
    assert calls[4:] == ["done", "failing", "too-long"]


def test_how_long_an_item_took_counts_more_than_the_guess(gpu: SimpleNamespace, bench: Any, tmp_path: Path) -> None:
    item, journal = stub(gpu, "slow", seconds=1.0), journal_of(gpu, tmp_path)
    assert journal.seconds_of(item, bench) == 1.0
    journal.note(item, gpu.journal.DONE, rows=[], seconds=90.0)
    assert journal_of(gpu, tmp_path, "other code").seconds_of(item, bench) == 90.0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timer: items are not interrupted")
def test_the_end_of_the_budget_interrupts_an_item_that_swallows_errors(
    gpu: SimpleNamespace, bench: Any, tmp_path: Path
) -> None:
    def endless() -> None:
        while True:
            with contextlib.suppress(Exception):  # as code under measurement may do
                time.sleep(10)

    before, began = signal.getsignal(signal.SIGALRM), time.monotonic()
    items = [stub(gpu, "endless", endless), stub(gpu, "after", seconds=0.01)]
    gpu.journal.run_items(items, bench, journal_of(gpu, tmp_path), 0.15, lambda line: None)
    assert time.monotonic() - began < 5
    found = stored(tmp_path)
    assert (found["endless"]["status"], found["after"]["status"]) == ("skipped", "skipped")
    assert "the budget ended" in found["endless"]["reason"]
    assert signal.getsignal(signal.SIGALRM) == before


def run_main(gpu: SimpleNamespace, out: Path, *words: str) -> int:
    return int(gpu.command.main(["--device", "cpu", "--out", str(out), "--minutes", "1", *words]))


def test_failed_items_are_named_at_the_end(
    gpu: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu.command, "code_hash", lambda: "code")
    items = [stub(gpu, "a"), stub(gpu, "b/bad", raising(ValueError("wrong")))]
    monkeypatch.setattr(gpu.plan, "all_items", lambda: items)
    assert run_main(gpu, tmp_path) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "Error: 1 items failed, see their lines: b/bad"
    assert run_main(gpu, tmp_path, "--only", "a") == 0
    assert "a: there already" in capsys.readouterr().err
    assert [entry["name"] for entry in json.loads((tmp_path / "cpu.json").read_text())["items"]] == ["a", "b/bad"]
    for words, says in (
        (["--only", "c"], "--only c: no such item; known kinds: a, b"),
        (["--manifest", str(tmp_path)], "no manifest there"),
    ):
        assert run_main(gpu, tmp_path, *words) == 1
        assert says in capsys.readouterr().err
    (tmp_path / "cpu.json").write_text('{"format": 1, "items": [{"name": 3}]}')
    assert run_main(gpu, tmp_path) == 1
    assert "cpu.json: no result of this command" in capsys.readouterr().err


def result(gpu: SimpleNamespace, **changes: Any) -> dict[str, Any]:
    entry = {"kind": "speed", "key": "k"}
    items = [
        {**entry, "name": "speed/a", "status": "done", "rows": [{"what": "a|b", "n": 2.5}, {"what": "c"}]},
        {
            **entry,
            "name": "speed/b",
            "status": "skipped",
            "reason": "would take about 9 s, 3 s of the budget were left",
        },
        {
            **entry,
            "name": "speed/c",
            "status": "skipped",
            "reason": "would take about 9 s, 2 s of the budget were left",
        },
        {**entry, "name": "speed/d", "status": "failed", "reason": "ValueError: wrong"},
    ]
    facts = {"format": gpu.journal.FORMAT, "device": "Stub 9000", "on_gpu": True, "faces": "drawn", "items": items}
    return {**facts, **changes}


def test_tables_show_every_row_and_why_there_is_none(gpu: SimpleNamespace, tmp_path: Path) -> None:
    kinds = [
        gpu.item.Kind("speed", "How fast", (Column("what", "what", "text"), Column("n", "faces/s", digits=1))),
        gpu.item.Kind("other", "Others", ()),
    ]
    assert gpu.page.report(tmp_path, kinds) == gpu.page.MISSING + "\n"
    (tmp_path / "cpu.json").write_text(json.dumps(result(gpu, device="cpu", on_gpu=False, items=[])))
    assert gpu.page.report(tmp_path, kinds).startswith(gpu.page.MISSING)
    (tmp_path / "stub.json").write_text(json.dumps(result(gpu)))
    text = gpu.page.report(tmp_path, kinds)
    assert gpu.page.MISSING not in text
    assert text.index("## Stub 9000\n") < text.index("## cpu, sizes cut")
    assert "| 2.5 |" in text
    assert "| – |" in text
    assert "- speed/b, speed/c: skipped (would take about 9 s)\n" in text
    assert "- speed/d: failed (ValueError: wrong)" in text
    assert "### Others\n\nnot measured" in text


def test_only_what_is_between_the_marks_of_a_page_changes(gpu: SimpleNamespace, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{gpu.page.BEGIN}\nold\n{gpu.page.END}\nafter\n")
    gpu.page.write_page(page, "new\n")
    assert page.read_text() == f"before\n{gpu.page.BEGIN}\nnew\n{gpu.page.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(DFADError, match="needs the lines"):
        gpu.page.write_page(page, "new\n")


def test_the_page_is_what_the_stored_results_say(gpu: SimpleNamespace) -> None:
    """Else: python benchmarks/gpu_acceptance.py --render."""
    text = gpu.command.PAGE.read_text(encoding="utf-8")
    shown = text.partition(f"{gpu.page.BEGIN}\n")[2].partition(gpu.page.END)[0]
    assert shown == gpu.page.report(gpu.command.RESULTS, gpu.plan.KINDS)


def test_every_item_has_a_table_and_every_model_its_items(gpu: SimpleNamespace) -> None:
    names = [item.name for item in gpu.plan.all_items()]
    kinds = [kind.name for kind in gpu.plan.KINDS]
    assert len(set(names)) == len(names)
    assert {item.kind for item in gpu.plan.all_items()} == set(kinds)
    assert len(set(kinds)) == len(kinds)
    for kind in ("verdict", "step", "compiled"):
        assert {name.partition("/")[2] for name in names if name.startswith(f"{kind}/")} == set(model_names())


def test_a_device_that_differs_from_the_fake_one_fails(
    gpu: SimpleNamespace, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = gpu.models.measure_verdict("never_sure", bench)
    assert row["tensors"] > 0
    assert row["waits_seen"] == "not measured, no GPU"
    fake = gpu.models.fake_facts

    def changed(subject: Any, autocast: Any) -> dict[str, str]:
        found = fake(subject, autocast)
        return {**found, "embedding": found["embedding"].replace("float32", "bfloat16")}

    monkeypatch.setattr(gpu.models, "fake_facts", changed)
    with pytest.raises(gpu.item.DisagreementError, match=r"embedding: bfloat16 \(.*, here float32 \("):
        gpu.models.measure_verdict("never_sure", bench)


def test_faces_of_a_manifest_have_classes_real_first(gpu: SimpleNamespace, bench: Any, tmp_path: Path) -> None:
    toy_manifests(tmp_path, identities=2, shots=1)
    faces = gpu.faces.bench_faces(replace(bench, manifests=(tmp_path / "synthetic",)))
    assert faces.pixels.shape == (2 * len((*SEEN, *UNSEEN)), 256, 256, 3)
    assert np.bincount(faces.labels).tolist() == [2] * len((*SEEN, *UNSEEN))
    bench.kept["faces"] = faces
    rows, store = gpu.faces.face_rows(bench, 20), gpu.faces.mapped_store(bench, 20)
    assert rows["attribution_label"].tolist() == np.resize(faces.labels, 20).tolist()
    assert ((rows["attribution_label"] == 0) == (rows["detection_label"] == 0)).all()
    assert np.array_equal(store.array, np.resize(faces.pixels, (20, 256, 256, 3)))


@pytest.mark.heavy
def test_two_real_items_on_the_cpu(gpu: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for says in ("done", "there already"):
        assert run_main(gpu, tmp_path, "--only", "verdict/clip", "agreement/xception") == 0
        assert f"verdict/clip: {says}" in capsys.readouterr().err
    items = {entry["name"]: entry for entry in json.loads((tmp_path / "cpu.json").read_text())["items"]}
    assert items["verdict/clip"]["rows"][0]["tensors"] >= 5
    formats = {row["format"]: row for row in items["agreement/xception"]["rows"]}
    assert "fp16 needs a GPU" in formats["fp16"]["note"]
    assert "note" in formats["bf16"] or formats["bf16"]["relative"] < 0.05
