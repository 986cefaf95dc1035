"""A table with a protocol: rows become test faces by name, what fits no other is counted, and too much is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.toy import toy_manifests, toy_protocol

from dfad_bench.api.by_value import scores_by
from dfad_bench.api.imports import import_predictions
from dfad_bench.api.runs import leaderboards, verify_record
from dfad_bench.core.errors import ConfigError, ProtocolError
from dfad_bench.core.protocol import Protocol
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import select
from dfad_bench.intake.settings import ImportSettings
from dfad_bench.report.score import score


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Protocol, list[Manifest], pd.DataFrame]:
    """Protocol, manifests, and predictions of every test face."""
    protocol, manifests = toy_protocol(), toy_manifests(tmp_path_factory.mktemp("toy"))
    rows = select(protocol, manifests, training=False).tested
    origins = pd.concat([manifest.frame(["sample_id", "origin"]) for manifest in manifests])
    rng = np.random.default_rng(0)
    frame = rows[["sample_id", "group", "source_key", "attribution_label", "detection_label"]].copy()
    probs = rng.dirichlet([1, 1, 1], len(frame))
    for label, name in enumerate(("real", "synthetic-gan-a", "synthetic-diffusion-a")):
        frame[f"p_{label}"], frame[f"named_{name}"] = probs[:, label], probs[:, label]
    frame["p_fake"] = rng.random(len(frame)).round(2)
    return protocol, manifests, frame.merge(origins, on="sample_id")


def test_numbers_are_those_of_the_same_predictions_scored_here(faces, tmp_path: Path) -> None:
    protocol, manifests, frame = faces
    path = tmp_path / "p.parquet"
    frame.sample(frac=1, random_state=0)[["sample_id", "p_2", "p_0", "p_1", "p_fake"]].to_parquet(path)
    run = import_predictions(path, tmp_path / "run", ImportSettings(protocol=protocol), manifests)
    assert run.record.metrics == score(frame.sort_values("sample_id"), protocol).metrics
    assert run.record.imported is not None
    assert run.record.imported.matched_by == "sample_id"
    by_split = scores_by(run.folder, "dataset", manifests=manifests, resamples=50)
    assert {row["value"] for row in by_split.rows} == {"synthetic", "synthetic-outdoor"}
    found = verify_record(run.folder)
    assert not found.differences
    assert not found.unchecked


def test_files_are_found_by_the_end_of_their_path(faces, tmp_path: Path) -> None:
    protocol, manifests, frame = faces
    table = frame[["p_fake"]].copy()
    paths = frame["group"].str.partition("/")[0] + "/" + frame["origin"]  # two datasets have files of the same name
    table["file"] = ["/their/disk/" * (k % 2) + path for k, path in enumerate(paths)]
    named = [name for name in frame if name.startswith("named_")]
    table[[name.replace("named_", "p_") for name in named]] = frame[named]
    table.to_csv(tmp_path / "p.csv", index=False)
    run = import_predictions(tmp_path / "p.csv", tmp_path / "run", ImportSettings(protocol=protocol), manifests)
    found, wanted = run.record, score(frame, protocol)
    stated = {(v.metric, v.subset, v.averaging, str(v.params)): v.value for v in wanted.metrics}
    for number in found.metrics:
        assert number.value == pytest.approx(stated[number.metric, number.subset, number.averaging, str(number.params)])
    assert found.imported is not None
    assert (found.imported.matched_by, found.imported.unmatched, found.imported.missing) == ("file name", 0, 0)


def test_the_end_of_several_paths_is_refused(faces, tmp_path: Path) -> None:
    protocol, manifests, frame = faces
    table = frame.assign(file=[Path(origin).name for origin in frame["origin"]])[["file", "p_fake"]]
    table.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ConfigError, match="is the end of .* faces' paths; begin it"):
        import_predictions(tmp_path / "p.csv", tmp_path / "run", ImportSettings(protocol=protocol), manifests)


def test_unmatched_and_missing_are_counted_and_refused_above_their_limits(faces, tmp_path: Path) -> None:
    protocol, manifests, frame = faces
    table = frame[["sample_id", "p_fake"]].copy()
    table.loc[:2, "sample_id"] = ["x", "y", "z"]
    table.to_csv(tmp_path / "p.csv", index=False)
    run = tmp_path / "run"
    tight = ImportSettings(protocol=protocol, max_unmatched=0.0)
    with pytest.raises(ConfigError, match=rf"3 of {len(table)} rows are no test face.*--max-unmatched 0\.[0-9]+ accep"):
        import_predictions(tmp_path / "p.csv", run, tight, manifests)
    tight = ImportSettings(protocol=protocol, max_unmatched=1.0, max_missing=0.0)
    with pytest.raises(ConfigError, match=rf"3 of {len(table)} test faces have no row.*--max-missing"):
        import_predictions(tmp_path / "p.csv", run, tight, manifests)
    wide = ImportSettings(protocol=protocol, max_missing=0.1, max_unmatched=0.1)
    record = import_predictions(tmp_path / "p.csv", run, wide, manifests).record
    assert record.imported is not None
    assert (record.imported.unmatched, record.imported.missing) == (3, 3)
    assert (record.status, record.samples.failed) == ("partial", 3)  # who leaves out the hardest faces is not ranked
    assert not verify_record(run).differences
    rows = [row for row in leaderboards([run])["toy"].rows if row["kind"] == "imported"]
    assert "rank" not in rows[0] or rows[0]["rank"] is None


def test_other_faces_and_other_labels_are_refused(faces, tmp_path: Path) -> None:
    protocol, manifests, frame = faces
    settings = ImportSettings(protocol=protocol)
    frame.assign(sample_id=[f"x{k}" for k in range(len(frame))]).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ConfigError, match="rows are no test face of the protocol"):
        import_predictions(tmp_path / "p.csv", tmp_path / "run", settings, manifests)
    turned = np.where(frame["detection_label"] == 1, "real", "fake")
    frame.assign(label=turned).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ConfigError, match="another label than the protocol"):
        import_predictions(tmp_path / "p.csv", tmp_path / "run", settings, manifests)
    frame.drop(columns="p_2").to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ConfigError, match="not 1|no column of probabilities"):
        import_predictions(tmp_path / "p.csv", tmp_path / "run", settings, manifests)
    with pytest.raises(ConfigError, match="need each other"):
        import_predictions(tmp_path / "p.csv", tmp_path / "run", settings)
    with pytest.raises(ProtocolError, match="lacks"):
        import_predictions(tmp_path / "p.csv", tmp_path / "run", settings, manifests[:1])
    assert not (tmp_path / "run").exists()
