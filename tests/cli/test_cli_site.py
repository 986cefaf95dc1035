from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.html_pages import read_page
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.cli.main import dfad
from dfad_bench.core.files import content_hash


def leaderboard(*arguments: str | Path) -> Result:
    return CliRunner().invoke(dfad, ["leaderboard", *map(str, arguments)])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for seed in (0, 1):
        frame, config = toy_predictions(toy_protocol(), 8, seed=seed), {"model": "toy", "seed": seed}
        run = {"run_id": "r", "seed": seed, "config_sha256": content_hash(config), "precision": "fp32", "world_size": 1}
        run |= {"steps": 7, "resumed": 0, "config": config}
        write_run(folder / "runs" / str(seed), toy_protocol(), frame, resamples=10, run=run)
    result = leaderboard("--runs", folder / "runs", "--format", "html", "--no-reported", "--out", folder / "site")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == str(folder / "site" / "index.html")
    return folder / "site"


def test_the_site_of_runs_has_a_page_of_each_of_them(site: Path) -> None:
    pages = {path.name: read_page(path.read_text(encoding="utf-8")) for path in site.glob("*.html")}
    kinds = [name.partition("-")[0] for name in pages]
    assert kinds.count("run") == 2
    assert {"index.html", "metrics.html", "protocol-toy.html", "model-toy.html"} <= set(pages)
    for page in pages.values():
        assert all((site / link).is_file() for link in page.links if not link.startswith(("#", "http")))
    run = next(page for name, page in pages.items() if name.startswith("run-"))
    assert "claimed" in run.text, "no setting of a registered model, so it cannot be checked"


def test_a_site_needs_a_folder_and_other_formats_a_file(tmp_path: Path) -> None:
    missing = leaderboard("--protocol", "synthetic", "--format", "html")
    assert missing.exit_code == 2
    assert "writes a folder of pages; name it by --out" in missing.output
    folder = leaderboard("--protocol", "synthetic", "--format", "csv", "--out", tmp_path)
    assert folder.exit_code == 2
    assert "is a directory" in folder.output
    (tmp_path / "mine.txt").write_text("x")
    full = leaderboard("--protocol", "synthetic", "--format", "html", "--out", tmp_path)
    assert full.exit_code == 1
    assert full.output.startswith("Error: ")
    assert "is not empty and holds no earlier site" in full.output
