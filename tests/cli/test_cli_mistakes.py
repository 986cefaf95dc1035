"""`dfad scores --mistakes`: every mistaken face once, the most confident first, in CSV and as pictures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from helpers.runs import run_facts, write_run
from helpers.toy import toy_manifests, toy_protocol, toy_row
from PIL import Image

import dfad_bench as dfad
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.record import read_record
from dfad_bench.data.images import SHEET, decode_crop
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.select import manifests_hash
from dfad_bench.report.mistakes import TAKEN_FOR_SEEN, WRONG_NAME

PROTOCOL = toy_protocol()


def predictions(manifests: list[Manifest], seed: int = 0) -> pd.DataFrame:
    """Random answers for the test faces of some manifests."""
    rng, parts = np.random.default_rng(seed), []
    groups = {group.key: group for group in PROTOCOL.groups}
    for manifest in manifests:
        rows = manifest.frame(["sample_id", "generator", "split", "source_key"])
        rows = rows[rows["split"] == "test"].reset_index(drop=True)
        rows["group"] = manifest.name + "/" + rows["generator"].astype(str)
        parts.append(rows[rows["group"].isin(list(groups))])
    frame = pd.concat(parts, ignore_index=True)[["sample_id", "group", "source_key"]]
    frame["attribution_label"] = [groups[key].label for key in frame["group"]]
    frame["detection_label"] = [groups[key].taxon.detection_label for key in frame["group"]]
    probs = rng.dirichlet(np.full(3, 0.2), len(frame))
    return frame.assign(**{f"p_{k}": probs[:, k] for k in range(3)}, p_fake=rng.random(len(frame)))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    manifests = toy_manifests(folder / "manifests")
    for seed in (0, 1):
        frame = predictions(manifests, seed)
        facts = run_facts(PROTOCOL, frame, "0" * 64)
        config = {"model": "toy", "seed": seed}
        write_run(
            folder / "seeds" / f"seed-{seed}", PROTOCOL, frame, resamples=0,
            manifest={**facts["manifest"], "content_sha256": manifests_hash(manifests)},
            run={**facts["run"], "seed": seed, "config": config},
        )  # fmt: skip
    return folder


def run(work: Path) -> Path:
    return work / "seeds" / "seed-0"


def given(work: Path) -> list[str]:
    return [
        part for name in ("synthetic", "synthetic-outdoor") for part in ("--manifest", str(work / "manifests" / name))
    ]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["scores", *map(str, arguments)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_mistake_of_the_record_is_there_and_nothing_else(work: Path, tmp_path: Path) -> None:
    """Counted against the record, face by face against the predictions."""
    result = invoke("--run", run(work), "--mistakes", tmp_path / "out", *given(work))
    assert result.exit_code == 0, result.output
    frame = pd.read_parquet(run(work) / "predictions.parquet").set_index("sample_id")
    record = read_record(run(work) / "record.json")
    attribution, detection = (rows_of(tmp_path / "out" / f"{task}.csv") for task in ("attribution", "detection"))
    wrong = {key for key, row in frame.iterrows() if (row["p_fake"] > 0.5) != (row["detection_label"] == 1)}
    assert {row["sample_id"] for row in detection} == wrong
    assert len(detection) == len(wrong) == sum(counts.fp + counts.fn for counts in record.groups.values())
    seen = [row for row in attribution if row["mistake"] == WRONG_NAME]
    unseen = [row for row in attribution if row["mistake"] == TAKEN_FOR_SEEN]
    assert len(seen) == sum(counts.n - counts.correct for counts in record.groups.values() if counts.seen)
    assert len(unseen) == sum(c.n - c.below["0.9"] for c in record.groups.values() if not c.seen)
    assert len(attribution) == len(seen) + len(unseen) == len({row["sample_id"] for row in attribution})
    for row in attribution:
        p = frame.loc[row["sample_id"], ["p_0", "p_1", "p_2"]].to_numpy(dtype=float)
        assert float(row["confidence"]) == pytest.approx(p.max())
        assert row["truth"] != row["called"] or row["mistake"] == TAKEN_FOR_SEEN
        label = frame.loc[row["sample_id"], "attribution_label"]
        assert row["p_truth"] == "" if label < 0 else float(row["p_truth"]) == pytest.approx(p[label])


def test_the_most_confident_mistakes_stand_first_in_csv_and_on_the_sheet(work: Path, tmp_path: Path) -> None:
    invoke("--run", run(work), "--mistakes", tmp_path, *given(work), "--faces", 7)
    manifests = {name: Manifest.open(work / "manifests" / name) for name in ("synthetic", "synthetic-outdoor")}
    for task in ("attribution", "detection"):
        rows = rows_of(tmp_path / f"{task}.csv")
        confidence = [float(row["confidence"]) for row in rows]
        assert confidence == sorted(confidence, reverse=True)
        assert all(value >= 0.5 for value in confidence if task == "detection")
        with Image.open(tmp_path / f"{task}.png") as sheet:
            assert sheet.info["Software"] == SHEET  # a build refuses it
            first = rows[0]
            png = dict(manifests[first["group"].partition("/")[0]].images([first["sample_id"]]))[first["sample_id"]]
            crop = Image.fromarray(decode_crop(png)).resize((112, 112), Image.Resampling.LANCZOS)
            assert np.array_equal(np.asarray(sheet)[26 : 26 + 112, 4 : 4 + 112], np.asarray(crop))
            assert sheet.height == 26 + 2 * (112 + 46 + 4) + 4  # seven faces, six in a row
        origins = {row["sample_id"]: row["origin"] for row in rows}
        for manifest in manifests.values():
            for identity, origin in manifest.frame(["sample_id", "origin"]).itertuples(index=False, name=None):
                assert origins.get(identity, origin) == origin


def test_without_a_manifest_there_is_csv_only_and_no_sheet_of_before(work: Path, tmp_path: Path) -> None:
    invoke("--run", run(work), "--mistakes", tmp_path, *given(work))
    assert len(list(tmp_path.glob("*.png"))) == 2
    result = invoke("--run", run(work), "--mistakes", tmp_path)
    assert (result.exit_code, sorted(path.name for path in tmp_path.iterdir())) == (
        0,
        ["attribution.csv", "detection.csv"],
    )
    assert "Without --manifest there are no pictures" in result.stderr
    assert {row["origin"] for row in rows_of(tmp_path / "detection.csv")} == {""}


def test_the_folder_of_seeds_gives_a_folder_a_seed(work: Path, tmp_path: Path) -> None:
    result = invoke("--run", work / "seeds", "--mistakes", tmp_path, *given(work))
    assert result.exit_code == 0, result.output
    assert {path.parent.name for path in tmp_path.glob("*/detection.csv")} == {"seed-0", "seed-1"}
    found = dfad.mistakes(work / "seeds", [work / "manifests" / "synthetic", work / "manifests" / "synthetic-outdoor"])
    assert [len(one.detection.rows) for one in found.seeds] == [
        len(rows_of(tmp_path / f"seed-{seed}" / "detection.csv")) for seed in (0, 1)
    ]
    assert found.files == ()


def test_an_expert_that_was_not_trained_has_no_mistakes(work: Path, tmp_path: Path) -> None:
    manifests = [Manifest.open(work / "manifests" / name) for name in ("synthetic", "synthetic-outdoor")]
    frame = predictions(manifests)
    facts = run_facts(PROTOCOL, frame, "0" * 64)
    write_run(tmp_path / "run", PROTOCOL, frame, resamples=0, model={**facts["model"], "heads": "detection"})
    found = dfad.mistakes(tmp_path / "run")
    assert (len(found.attribution.rows), found.attribution.notes) == (0, ("the attribution expert was not trained",))
    assert len(found.detection.rows) > 0


def test_manifests_of_other_faces_are_one_line_and_nothing_is_written(work: Path, tmp_path: Path) -> None:
    result = invoke("--run", run(work), "--mistakes", tmp_path / "out", "--manifest", work / "manifests" / "synthetic")
    assert result.exit_code == 1
    assert "mistaken faces, such as" in result.output
    assert "give the manifests the run was tested on" in result.output
    assert not (tmp_path / "out").exists()


def test_names_that_a_spreadsheet_would_run_are_guarded(work: Path, tmp_path: Path) -> None:
    rows = [toy_row("synthetic", "real", "test", n, 0, origin=f"=cmd|{n}.png", sample_id=f"{n:016x}") for n in range(6)]
    manifest = write_manifest(tmp_path / "m", "synthetic", rows)
    frame = predictions([manifest]).assign(p_fake=0.9)
    write_run(tmp_path / "run", PROTOCOL, frame, resamples=0)
    found = dfad.mistakes(tmp_path / "run", [manifest], tmp_path / "out")
    assert {row["origin"][:2] for row in rows_of(tmp_path / "out" / "detection.csv")} == {"'="}
    assert any("not the very ones" in note for note in found.notes)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--manifest", "m"), "--manifest needs --mistakes"),
        (("--faces", "3"), "--faces needs --mistakes"),
        (("--mistakes", "out", "--faces", "3"), "--faces needs --manifest"),
        (("--mistakes", "out", "--run", "other"), "--mistakes is of one run"),
    ],
)
def test_options_without_effect_are_refused(work: Path, arguments: tuple[str, ...], says: str) -> None:
    result = invoke("--run", run(work), *arguments)
    assert (result.exit_code, says in result.output) == (2, True), result.output


def test_the_function_refuses_what_the_command_cannot_be_given(work: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong: list[dict[str, Any]] = [{"out": tmp_path / "file"}, {"faces": 0}]
    for arguments in wrong:
        with pytest.raises(ConfigError):
            dfad.mistakes(run(work), **arguments)
