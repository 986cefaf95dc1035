"""The command that measures every model: its rows, and what it says where there is nothing to measure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from dfad_bench.core.registry import model_names
from dfad_bench.engine.devices import place

ROOT = Path(__file__).resolve().parents[1]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("zoo_throughput*.json"))  # tiny, and at the papers' size


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_number_of_a_stored_result_is_there_or_has_its_reason(path: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (
        {"always_fake", "clip", "gazeclip", "xception"} <= {row["model"] for row in found["rows"]} <= set(model_names())
    )
    for row in found["rows"]:
        for kind in ("forward", "step"):
            fast, slow = row[f"{kind}_faces_s"], row[f"{kind}_naive_faces_s"]
            assert (fast is None or slow is None) == (f"{kind}_note" in row or "all_note" in row), row
            assert fast is None or fast > 0
            assert slow is None or row[f"{kind}_speedup"] == pytest.approx(fast / slow)


@pytest.mark.heavy
def test_rows_come_of_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # also for the processes that it starts
    import zoo_throughput

    threads = torch.get_num_threads()
    names = ["never_sure", "clip"]
    monkeypatch.setattr(zoo_throughput, "model_names", lambda: names)
    out = tmp_path / "zoo.json"
    given = {"--size": "tiny", "--batch": "4", "--turns": "1", "--device": "cpu", "--out": str(out)}
    monkeypatch.setattr(sys, "argv", ["zoo", *(word for pair in given.items() for word in pair)])
    zoo_throughput.main()
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["model"] for row in rows] == names
    assert (rows[0]["step_faces_s"], rows[0]["step_note"]) == (None, "nothing learns")
    assert min(rows[1][f"{kind}_{what}faces_s"] for kind in ("forward", "step") for what in ("", "naive_")) > 0
    assert "one by one" in " ".join(capsys.readouterr().out.split())
    assert torch.get_num_threads() == threads
    monkeypatch.setattr(zoo_throughput, "row_apart", lambda *_: pytest.fail("a row that is there was made again"))
    zoo_throughput.main()
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    scale = zoo_throughput.Scale("tiny", 4, 1)
    late = zoo_throughput.row_apart("clip", scale, place("cpu", "fp32"), 1e-4)
    assert (late["forward_faces_s"], late["all_note"]) == (None, "not done within the minutes given")
