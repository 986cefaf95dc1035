from __future__ import annotations

import json
from pathlib import Path

import pytest

from dfad_bench.core.errors import ConfigError
from dfad_bench.report.site.folder import LIST, write_site


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_earlier_site_is_replaced_and_nothing_else_is_touched(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_site(site, {"index.html": "a", "run-1.html": "b"})
    (site / "own.html").write_text("mine")
    write_site(site, {"index.html": "c", "run-2.html": "d"})
    assert contents(site) == {"index.html", "run-2.html", "own.html", LIST}
    assert (site / "index.html").read_text() == "c"
    assert (site / "own.html").read_text() == "mine"


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="is not empty and holds no earlier site"):
        write_site(tmp_path, {"index.html": "a"})
    assert contents(tmp_path) == {"thesis.tex"}
    with pytest.raises(ConfigError, match="is a file"):
        write_site(tmp_path / "thesis.tex", {"index.html": "a"})


@pytest.mark.parametrize(
    "listed", [["../secret.html"], ["a/b.html"], ["thesis.docx"], ["/etc/x.html"], {}, [1], [".."]]
)
def test_a_list_of_files_that_are_none_of_a_site_deletes_nothing(tmp_path: Path, listed: object) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "secret.html").write_text("x")
    (site / "thesis.docx").write_text("x")
    (site / LIST).write_text(json.dumps(listed))
    with pytest.raises(ConfigError, match="is not a list of a site's files"):
        write_site(site, {"index.html": "a"})
    assert (tmp_path / "secret.html").is_file()
    assert contents(site) == {"thesis.docx", LIST}
