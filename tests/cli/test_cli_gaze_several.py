from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import spearmanr

from dfad_bench.cli.main import dfad
from dfad_bench.cli.options import weights_of_each
from dfad_bench.gaze.estimators import ALIASES, ESTIMATORS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gaze"))  # helpers shared with the gaze tests
from gaze_manifests import write_eyes  # noqa: E402
from gaze_toys import TOYS  # noqa: E402


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory):
    return write_eyes(tmp_path_factory.mktemp("gaze") / "toy", count=48, seed=2)[0]


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, place in TOYS.items():
        monkeypatch.setitem(ESTIMATORS, name, place)


def run(*words: object, code: int = 0):
    result = CliRunner().invoke(dfad, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def fid(manifest, *words: object, code: int = 0):
    return run("gaze-fid", "--manifest", manifest.folder, *words, "--quiet", code=code)


@pytest.mark.heavy
def test_two_estimators_side_by_side(manifest, tmp_path) -> None:
    words = ("--estimator", "geometric", "--estimator", "toy", "--no-equal-n")
    result = fid(manifest, *words, "--out", tmp_path)
    assert "Estimators side by side" in result.stdout
    assert "not defined over 2 generators" in result.stdout
    assert "toy: reads brightness, not gaze" in result.stdout
    for name in ("geometric", "toy"):
        assert f"Gaze, estimator {name}" in result.stdout
        assert f"## Gaze FID, estimator {name}" in (tmp_path / "gaze.md").read_text(encoding="utf-8")
        assert (tmp_path / f"gaze-fid-{name}.png").is_file()
    facts = json.loads((tmp_path / "gaze.json").read_text(encoding="utf-8"))
    assert list(facts["estimators"]) == ["geometric", "toy"]
    assert facts["equal_n"] is False
    by_estimator = {name: [row for row in facts["rows"] if row["estimator"] == name] for name in facts["estimators"]}
    assert [len(rows) for rows in by_estimator.values()] == [3, 3]
    # the same faces are compared, whoever looks at them
    hashes = [[(row["faces_sha256"], row["pairs_sha256"]) for row in rows[:2]] for rows in by_estimator.values()]
    assert hashes[0] == hashes[1]
    assert {claim["estimator"] for claim in facts["claims"]} == {"geometric", "toy"}
    lines = list(csv.DictReader(io.StringIO((tmp_path / "gaze.csv").read_text(encoding="utf-8"))))
    assert [line["estimator"] for line in lines] == ["geometric"] * 3 + ["toy"] * 3
    alone = json.loads(fid(manifest, "--estimator", "toy", "--no-equal-n", "--json").stdout)
    assert alone["rows"] == by_estimator["toy"]
    assert alone["agreement"] == []


def test_agreement_is_spearmans_over_the_printed_fids(manifest, tmp_path) -> None:
    rows = [_plain(row) for row in _rows(manifest)]
    for index, row in enumerate(row for row in rows if row["detection_label"] == 1):
        row["generator"] += f"-{index % 4 // 2}"
    manifest = _rewrite(tmp_path / "four", rows)
    facts = json.loads(fid(manifest, "--estimator", "geometric", "--estimator", "toy", "--json").stdout)
    fids = {
        name: [row["fid_rad2"] for row in facts["rows"] if row["estimator"] == name and row["forgery"] != "control"]
        for name in ("geometric", "toy")
    }
    assert len(fids["toy"]) == 4
    agreement = next(entry for entry in facts["agreement"] if entry["measure"] == "fid")
    assert agreement["generators"] == 4
    assert agreement["spearman"] == pytest.approx(spearmanr(*fids.values()).statistic)


@pytest.mark.parametrize(
    ("name", "message"),
    [("weightless", "weights 'weightless' not found; get them from nowhere"), ("absent", "pip install absent")],
)
def test_an_estimator_that_cannot_be_used_is_one_line_and_the_other_is_reported(manifest, name, message) -> None:
    result = fid(manifest, "--estimator", name, "--estimator", "toy", "--json", code=1)
    facts = json.loads(result.stdout)
    assert list(facts["estimators"]) == ["toy"]
    assert message in facts["failed"][name]
    assert len(facts["rows"]) == 3
    errors = [line for line in result.stderr.splitlines() if line]
    assert len(errors) == 1
    assert errors[0].startswith(f"Error: estimator {name} left out")
    assert message in errors[0]
    alone = fid(manifest, "--estimator", name, code=1)
    assert alone.stdout == ""
    assert message in alone.stderr


def test_when_none_can_be_used_all_reasons_are_one_line(manifest) -> None:
    result = fid(manifest, "--estimator", "absent", "--estimator", "weightless", code=1)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "absent:" in result.stderr
    assert "weightless:" in result.stderr


def test_one_estimator_with_other_settings_is_not_silently_left_out(manifest, monkeypatch) -> None:
    """Two names of one estimator are one if nothing differs; else the second is named as left out."""
    monkeypatch.setitem(ALIASES, "same", "toy")
    monkeypatch.setitem(ESTIMATORS, "renamed", "gaze_toys:Renamed")
    once = fid(manifest, "--estimator", "toy", "--estimator", "same", "--json")
    assert list(json.loads(once.stdout)["estimators"]) == ["toy"]
    result = fid(manifest, "--estimator", "toy", "--estimator", "renamed", "--json", code=1)
    assert list(json.loads(result.stdout)["estimators"]) == ["toy"]
    assert "estimator renamed left out: toy is requested twice, with other weights or settings" in result.stderr


@pytest.mark.heavy
def test_bad_generators_are_reported_beside_the_good_ones(manifest, tmp_path) -> None:
    """A generator with one face, one whose faces were all refused, and forged faces without a target at hand."""
    seen = {"toy-swap": 0, "toy-face": 0}
    rows = []
    for row in map(_plain, _rows(manifest)):
        row["target_id"] = None
        if row["generator"] == "toy-swap" and row["status"] == "ok":
            row.update(status="too_small", reason="12 pixels", image=None, crop_sha256=None, landmarks=None)
        if row["generator"] == "toy-face":
            seen["toy-face"] += 1
            if seen["toy-face"] > 1:
                row["generator"], row["forgery"] = "toy-other", "AM"
        rows.append(row)
    result = fid(_rewrite(tmp_path / "bad", rows), "--estimator", "toy", "--out", tmp_path / "out")
    assert "all faces refused" in result.stdout
    assert "only 1 face" in result.stdout
    facts = json.loads((tmp_path / "out/gaze.json").read_text(encoding="utf-8"))
    found = {row["generator"]: row for row in facts["rows"]}
    assert found["toy-other"]["n"] == 15
    assert found["toy-other"]["fid_rad2"] > 0
    assert (found["toy-swap"]["refused"], found["toy-swap"]["fid_rad2"]) == (16, None)
    assert (found["toy-face"]["n"], found["toy-face"]["pair_verdict"]) == (1, "no target")
    assert found["random pairs"]["pair_verdict"] == "no pairs"
    notes = facts["estimators"]["toy"]["notes"]
    assert sum("has its target in these manifests" in note for note in notes) == 1
    assert not list((tmp_path / "out").glob("gaze-pairs*"))


def test_a_manifest_without_real_faces_is_one_line(manifest, tmp_path) -> None:
    forged = [_plain(row) for row in _rows(manifest) if row["detection_label"] == 1]
    result = fid(_rewrite(tmp_path / "forged", forged), "--estimator", "toy", code=1)
    assert result.stderr == "Error: no real face with a gaze in these manifests; add one that has some (--manifest)\n"
    both = ["gaze-fid", "--manifest", manifest.folder, "--manifest", manifest.folder, "--estimator", "toy", "--quiet"]
    assert "a face is in two of the manifests" in run(*both, code=1).stderr


def test_reals_of_a_second_manifest_are_used(manifest, tmp_path) -> None:
    forged = _rewrite(tmp_path / "forged", [_plain(row) for row in _rows(manifest) if row["detection_label"] == 1])
    reals = [{**_plain(row), "dataset": "other"} for row in _rows(manifest) if row["detection_label"] == 0]
    real = _rewrite(tmp_path / "real", reals, "other")
    words = ("--manifest", forged.folder, "--manifest", real.folder, "--estimator", "toy", "--json", "--quiet")
    facts = json.loads(run("gaze-fid", *words).stdout)
    assert set(facts["manifests"]) == {"toy", "other"}
    assert [row["reals"] for row in facts["rows"][:2]] == ["all", "all"]
    assert facts["rows"][1]["pairs"] == 16


def test_pytorch_fid_gives_the_same_json_but_for_its_name(manifest) -> None:
    pytest.importorskip("pytorch_fid.fid_score")
    mine, theirs = (
        json.loads(fid(manifest, "--fid-backend", name, "--json").stdout) for name in ("closed-form", "pytorch-fid")
    )
    assert (mine.pop("fid_backend"), theirs.pop("fid_backend")) == ("closed-form", "pytorch-fid")
    for a, b in zip(mine["rows"], theirs["rows"], strict=True):
        for key in [key for key in a if key.endswith("rad2") and isinstance(a[key], float)]:
            assert a.pop(key) == pytest.approx(b.pop(key), rel=0, abs=1e-9)
        assert a == b


def test_published_values_stand_beside_measured_ones_where_the_paper_prints_them(manifest) -> None:
    from dfad_bench.report.gaze.published import FIGURE_7, published_table

    rows = [{"forgery": "FS", "cosine_2d": 0.5}, {"forgery": "FS", "cosine_2d": -0.1}, {"forgery": "control"}]
    table = published_table({"geometric": rows, "puregaze": rows, "eth_xgaze": [], "faze": []})
    assert [row["estimator"] for row in table.rows] == ["puregaze", "eth_xgaze", "faze"]
    assert (table.rows[0]["printed"], table.rows[0]["measured"]) == ("0.01 to 0.83 (9)", "-0.10 to 0.50 (2)")
    assert table.rows[1]["measured"] == "no pairs"
    assert (table.rows[1]["attribution_acc"], table.rows[2]["detection_auc"]) == pytest.approx((0.8066, 0.7057))
    assert table.rows[2]["printed"] is None  # Figure 7 shows two estimators only
    assert published_table({"geometric": rows}) is None
    assert all(list(values) == sorted(values) and len(values) == 9 for values in FIGURE_7.values())
    assert "Published" not in fid(manifest, "--estimator", "toy").stdout


def test_extract_takes_several_estimators(manifest) -> None:
    result = run(
        "gaze-extract", "--manifest", manifest.folder, "--estimator", "toy", "--estimator", "geometric", "--json"
    )
    rows = json.loads(result.stdout)["rows"]
    assert [(row["estimator"], row["known"]) for row in rows] == [("toy", 48), ("geometric", 48)]
    assert len({row["file"] for row in rows}) == 2


def test_extract_goes_on_where_one_estimator_cannot_be_used(manifest) -> None:
    words = ("gaze-extract", "--manifest", manifest.folder, "--estimator", "weightless", "--estimator", "toy", "--json")
    result = run(*words, "--quiet", code=1)
    assert [row["estimator"] for row in json.loads(result.stdout)["rows"]] == ["toy"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert errors == ["Error: estimator weightless left out: weights 'weightless' not found; get them from nowhere"]
    alone = run(*words[:5], "--quiet", code=1)
    assert alone.stdout == ""
    assert "left out" not in alone.stderr


def test_whose_weights_a_file_is() -> None:
    assert weights_of_each((), ("a", "b")) == {"a": None, "b": None}
    assert weights_of_each(("f.pt",), ("a",)) == {"a": "f.pt"}
    assert weights_of_each(("x=1/f.pt",), ("a",)) == {"a": "x=1/f.pt"}  # a file name may hold "="
    assert weights_of_each(("b=f.pt", "a=g=h.pt"), ("a", "b")) == {"a": "g=h.pt", "b": "f.pt"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--estimator", "toy", "--estimator", "geometric", "--weights", "f.pt"),
            "say whose, as in --weights toy=f.pt",
        ),
        (("--estimator", "toy", "--weights", "toy=a.pt", "--weights", "b.pt"), "toy has weights already"),
        (("--fid-backend", "numpy"), "is not one of"),
    ],
)
def test_unclear_options_are_usage_errors(manifest, words: tuple[str, ...], message: str) -> None:
    assert message in fid(manifest, *words, code=2).stderr


def _rows(manifest) -> list[dict]:
    import pyarrow.parquet as pq

    return [row for part in manifest.parts for row in pq.read_table(part).to_pylist()]


def _plain(row: dict) -> dict:
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in row.items()}


def _rewrite(folder: Path, rows: list[dict], name: str = "toy"):
    from dfad_bench.data.manifest import write_manifest

    return write_manifest(folder, name, rows, shard_size=16)
