from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from dfad_bench.cli.main import dfad

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gaze"))  # helpers shared with the gaze tests
from gaze_manifests import write_eyes  # noqa: E402


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_eyes(tmp_path_factory.mktemp("gaze") / "toy", count=48, seed=2)[0]


def run(*words: str, code: int = 0):
    result = CliRunner().invoke(dfad, list(words))
    assert result.exit_code == code, result.output
    return result


def test_extract_says_what_it_found(manifest) -> None:
    result = run("gaze-extract", "--manifest", str(manifest.folder), "--json", "--quiet")
    row = json.loads(result.stdout)["rows"][0]
    assert (row["dataset"], row["faces"], row["known"], row["no_pose"]) == ("toy", 48, 48, 0)
    assert Path(row["file"]).is_file()


@pytest.mark.heavy
def test_fid_prints_both_tables_and_writes_everything(manifest, tmp_path) -> None:
    out = tmp_path / "study"
    arguments = ["gaze-fid", "--manifest", str(manifest.folder), "--estimator", "geometric", "--out", str(out)]
    short = run(*arguments, "--quiet").stdout
    assert "Is diffusion nearer to real than GAN, as GazeCLIP says?" in " ".join(short.split())
    assert "--all" in short
    assert short.count("\n") < 40
    result = run(*arguments, "--quiet", "--all")
    assert "Gaze FID, estimator geometric" in result.stdout
    assert "Is diffusion nearer to real than GAN?" in result.stdout
    assert "no target" in result.stdout
    assert "random pairs" in result.stdout
    facts = json.loads((out / "gaze.json").read_text(encoding="utf-8"))
    swap = next(row for row in facts["rows"] if row["generator"] == "toy-swap")
    assert swap["n"] == swap["pairs"] == 16
    assert swap["fid_rad2"] == pytest.approx(swap["mean_part_rad2"] + swap["covariance_part_rad2"])
    assert facts["manifests"] == {"toy": manifest.sha256}
    lines = list(csv.DictReader(io.StringIO((out / "gaze.csv").read_text(encoding="utf-8"))))
    assert [line["generator"] for line in lines] == ["toy-face", "toy-swap", "random pairs"]
    assert float(lines[1]["fid_rad2"]) == swap["fid_rad2"]
    assert (out / "gaze.md").read_text(encoding="utf-8").startswith("## Gaze FID, estimator geometric")
    with Image.open(out / "gaze-fid-geometric.png") as image:
        assert min(image.size) > 400
    assert {path.suffix for path in out.glob("gaze-*")} == {".png", ".svg", ".pdf"}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    run(*arguments, "--quiet")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.heavy
def test_fid_json_is_the_file(manifest, tmp_path) -> None:
    arguments = ["gaze-fid", "--manifest", str(manifest.folder), "--samples", "10", "--seed", "3"]
    result = run(*arguments, "--json", "--quiet", "--out", str(tmp_path))
    assert json.loads(result.stdout) == json.loads((tmp_path / "gaze.json").read_text(encoding="utf-8"))
    assert json.loads(result.stdout)["rows"][0]["n"] == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--estimator", "geometrik"], "Did you mean geometric"),
        (["--weights", "nowhere.pt"], "no such weight file"),
        (["--weights", "geometric=nowhere.pt"], "no such weight file"),
    ],
)
def test_mistakes_are_one_line(manifest, words: list[str], message: str) -> None:
    result = run("gaze-fid", "--manifest", str(manifest.folder), *words, "--quiet", code=1)
    assert message in result.output
    assert "Traceback" not in result.output


def test_missing_manifest_is_one_line(tmp_path) -> None:
    result = run("gaze-extract", "--manifest", str(tmp_path / "none"), "--quiet", code=1)
    assert "no such manifest" in result.output


@pytest.fixture(scope="module")
def cropped(tmp_path_factory):
    """Ready-made crops, without landmarks, as crop profile raw-256 leaves them."""
    return write_eyes(tmp_path_factory.mktemp("gaze") / "crops", count=6, seed=2, name="crops", without_landmarks=6)[0]


def test_crops_without_landmarks_say_so_and_what_to_do(cropped, manifest, tmp_path) -> None:
    result = run("gaze-extract", "--manifest", str(cropped.folder), "--quiet", code=3)
    words = "crops: none of 6 faces has a gaze by geometric: they have no landmarks, since crop profile"
    assert "Gaze vectors" in result.stdout
    assert words in result.stderr
    assert "--crop face-256-1.3" in result.stderr
    result = run("gaze-fid", "--manifest", str(cropped.folder), "--quiet", code=1)
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    both = ("--manifest", str(manifest.folder), "--manifest", str(cropped.folder))
    assert words in " ".join(run("gaze-fid", *both, "--samples", "5", "--quiet").stdout.split())  # a note there
    run("gaze-extract", "--manifest", str(manifest.folder), "--quiet")


def test_the_short_table_fits_a_screen_and_tells_what_was_lost() -> None:
    from dfad_bench.report.gaze.all_tables import short_tables

    row = {"estimator": "e", "dataset": "d", "forgery": "FS", "family": "gan", "n": 5, "fid_rad2": 0.01, "pairs": 0}
    rows = [row | {"generator": f"g{index:02}", "pair_verdict": "no pairs"} for index in range(24)]
    rows.append(row | {"generator": "g24", "n": 50, "sources_fake": 2, "pairs": 39, "pair_sources": 3})
    claim = {
        "scope": "all generators",
        "diffusion": 2,
        "gan": 3,
        "difference_rad2": 0.001,
        "p": 0.25,
        "p_two_sided": 0.25,
    }
    claims = [claim | {"estimator": "e", "verdict": "undecided"}, claim | {"estimator": "e", "verdict": "as claimed"}]
    about = {"notes": ["3 faces were refused."], "remarks": ["not calibrated"]}
    facts = {"estimators": {"e": about}, "rows": rows, "claims": claims, "groups": [], "agreement": []}
    (table,) = short_tables(facts)
    text = " ".join(table.render().split())
    assert table.render().count("\n") < 40
    assert all(word in text for word in ("3 faces were refused.", "not calibrated", "g24", "--all"))
    assert all(word in text for word in ("50 (2)", "39 (3)"))  # faces, and the sources that they come from
    assert "all generators: undecided (GAN less diffusion 3.28 deg², p 0.2500, 2 diffusion, 3 GAN generators)" in text
    assert "as claimed" not in text


def test_tables_that_would_be_empty_are_a_line(manifest) -> None:
    from dfad_bench.report.gaze.all_tables import gaze_tables

    row = {"estimator": "geometric", "generator": "a", "dataset": "d", "forgery": "FS", "family": "none", "n": 2}
    rows = [row | {"pair_verdict": "no pairs"}, row | {"forgery": "control", "pair_verdict": "no pairs"}]
    claim = {"estimator": "geometric", "scope": "all", "diffusion": 0, "gan": 1, "difference_rad2": None, "p": None}
    claim |= {"assignments": 0, "exact": True, "smallest_p": None, "verdict": "no diffusion generator"}
    facts = {"estimators": {"geometric": {"notes": [], "remarks": []}}, "rows": rows, "groups": [], "claims": [claim]}
    (table,) = gaze_tables({**facts, "agreement": []})
    text = " ".join(table.render().split())
    assert "No table of forged faces against their targets: no pairs (`dfad infer-pairs` looks for pairs)." in text
    assert "No test of diffusion against GAN: no diffusion generator." in text
    assert "No table by forgery type and family: no generator has faces enough." in text


def test_figures_of_chosen_generators_and_unknown_ones(manifest, tmp_path) -> None:
    arguments = ("gaze-fid", "--manifest", str(manifest.folder), "--samples", "5", "--quiet")
    result = run(*arguments, "--generators", "toy-swp", code=1)
    assert "no generator in these manifests named 'toy-swp'. Did you mean toy-swap" in result.stderr
    run(*arguments, "--min-faces", "2", code=2)


def test_settings_of_a_study_are_a_class_whose_fields_may_be_given_alone(manifest) -> None:
    import dfad_bench as dfad

    settings = dfad.GazeSettings(samples=5, seed=3)
    one = dfad.gaze_study([manifest], "geometric", settings, device="cpu")
    other = dfad.gaze_study([manifest], "geometric", samples=5, seed=3, device="cpu")
    assert one.facts == other.facts
    with pytest.raises(dfad.DFADError, match="GazeSettings: needs samples >= 2"):
        dfad.gaze_study([manifest], samples=1)
