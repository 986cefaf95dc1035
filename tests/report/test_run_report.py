"""Reports of runs: the files, the page, what is said to be missing, and strangers' names."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from helpers.open_runs import write_open_run
from helpers.toy import toy_protocol

import dfad_bench as dfad
from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_outputs import read_outputs
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.run_figures.base import STYLES, AbsentFigure, MadeFigure, ReportFacts, RunHeat, short_name
from dfad_bench.report.run_figures.embedding_map import tsne_places
from dfad_bench.report.run_figures.page import report_page
from dfad_bench.report.run_figures.registry import FIGURES
from dfad_bench.report.run_figures.training_curves import read_trace
from dfad_bench.report.run_figures.write import WrittenFigure
from dfad_bench.report.table import Column, Table

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> $\\frac{1}{2}$ \x1b[2J\u202e"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    write_open_run(folder, toy_protocol(), sources={"training": 6, "validation": 6, "test": 6}, resamples=20)
    return folder


class Elements(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def check_inert(text: str, figures: int) -> None:
    """No script, no handler, no address but those of parts and files beside the page."""
    page = Elements(text)
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & set(page.tags)
    assert page.tags.count("img") == figures
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for name, value in page.attributes:
        if name == "src":
            assert value.startswith(("data:image/svg+xml;base64,", "data:image/png;base64,"))
        if name == "href":
            assert value.startswith("#") or "/" not in value
    assert "default-src &#39;none&#39;" in text


def test_a_report_has_files_numbers_and_a_page(run: Path, tmp_path: Path) -> None:
    made = dfad.run_report(run, tmp_path / "out", figures=("confusion",), style="paper")
    (figure,) = made.figures
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "confusion.csv", "confusion.pdf", "confusion.png", "confusion.svg", "report.html",
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(figure.files["csv"].read_text(encoding="utf-8"))))
    faces = RunArrays(run).test
    for row in rows:
        mine = faces.of([row["group"]])
        for place, group in enumerate(sorted(toy_protocol().seen, key=lambda group: group.label)):
            assert float(row[group.key]) == pytest.approx((faces.predicted[mine] == place).mean())
    keys = [row["group"] for row in rows]
    assert keys[: len(faces.seen)] == [group.key for group in toy_protocol().seen]  # a diagonal, unseen rows below
    text = made.page.read_text(encoding="utf-8")
    check_inert(text, 1)
    assert f"{len(faces.label):,} test faces" in text
    assert made.plain()["figures"][0]["name"] == "confusion"
    again = dfad.run_report(run, tmp_path / "again", figures=("confusion",), style="paper")
    assert [path.read_bytes() for path in again.figures[0].files.values()] == [
        path.read_bytes() for path in figure.files.values()
    ]
    assert b"/Type /Font" in figure.files["pdf"].read_bytes()


def test_what_a_run_lacks_is_said(run: Path, tmp_path: Path) -> None:
    lacking = ("heat-maps", "gaze-angles", "words", "robustness", "experts", "training", "videos")
    made = dfad.run_report(run, tmp_path / "out", figures=lacking)
    assert not made.figures
    reasons = {one.name: one.reason for one in made.absent}
    assert set(reasons) == set(lacking)
    assert "no --manifest" in reasons["heat-maps"]
    assert "no evaluation on corrupted faces" in reasons["robustness"]
    assert "--heads" in reasons["experts"]
    text = made.page.read_text(encoding="utf-8")
    check_inert(text, 0)
    assert "Not shown" in text


def test_bad_requests_are_said_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no figure named 'confusions'. Did you mean confusion"):
        dfad.run_report(run, tmp_path / "out", figures=("confusions",))
    with pytest.raises(ConfigError, match="given twice"):
        dfad.run_report([run, run], tmp_path / "out")
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        dfad.run_report(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="heat_faces: 0"):
        dfad.run_report(run, tmp_path / "out", heat_faces=0)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        dfad.run_report(run, tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_names_of_strangers_are_inert_on_the_page(tmp_path: Path) -> None:
    table = Table(HOSTILE, (Column("a", HOSTILE, "text"), Column("b", "B", "percent")), [{"a": HOSTILE, "b": 0.5}])
    figure = MadeFigure("x", HOSTILE, HOSTILE, HOSTILE, table, lambda style: None)  # type: ignore[arg-type,return-value]  # not drawn
    files = {suffix: tmp_path / f"x.{suffix}" for suffix in ("png", "svg", "pdf", "csv")}
    rows = [dict.fromkeys(("label", "model", "seed", "protocol", "faces", "record", "note"), HOSTILE)]
    written = [WrittenFigure(figure, files, "image/png", b"png")]
    text = report_page(HOSTILE, rows, written, [AbsentFigure(HOSTILE, HOSTILE, HOSTILE)])
    check_inert(text, 1)
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "50.00 %" in text


def test_names_fit_axes_and_are_never_hidden() -> None:
    assert short_name("_hidden") == " _hidden"
    assert short_name("a\nb\u202e") == "a\\nb\\u202e"
    assert len(short_name("x" * 99)) == 26


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_where_its_line_says(name: str) -> None:
    module, _, function = FIGURES[name].maker.partition(":")
    assert callable(getattr(import_module(module), function))
    assert FIGURES[name].about
    assert name in dfad.list_names("figures").to_frame()["name"].tolist()


def test_a_trace_of_strangers_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("step,stage,epoch,lr,loss,validation\n1,main,0,0.1,nan,\n2,main,0,0.1,2.5,3.0\n")
    first, second = read_trace(path)
    assert (first["loss"], first["validation"]) == (None, None)
    assert (second["loss"], second["validation"]) == (2.5, 3.0)
    for text in ("step,stage,epoch\nx,main,0\n", "a,b\n1,2\n", "step,stage,epoch,loss\n1,main,0,1,9\n"):
        path.write_text(text)
        with pytest.raises(dfad.DFADError, match="no trace of a run"):
            read_trace(path)


@pytest.mark.heavy
def test_every_figure_of_two_runs_is_drawn_in_both_styles(tmp_path: Path) -> None:
    folders = [tmp_path / f"run{seed}" for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        write_open_run(folder, toy_protocol(), seed=seed, sources={"test": 6}, resamples=20)
    expected = {
        "confusion-1", "confusion-2", "roc", "precision-recall", "reliability", "risk-coverage", "scores-1", "scores-2",
        "embeddings-1", "embeddings-2", "mistakes-attribution-1", "mistakes-attribution-2", "mistakes-detection-1",
        "mistakes-detection-2", "sources-1", "sources-2",
    }  # fmt: skip
    for style in STYLES:
        made = dfad.run_report(folders, tmp_path / style, style=style)
        assert {one.figure.name for one in made.figures} == expected
        check_inert(made.page.read_text(encoding="utf-8"), len(expected))
        for one in made.figures:
            assert all(path.stat().st_size > 500 or path.suffix == ".csv" for path in one.files.values())
            assert one.figure.table.rows
            assert one.figure.note


@pytest.mark.heavy
def test_the_map_of_embeddings_keeps_neighbours_and_repeats(run: Path) -> None:
    outputs = read_outputs(RunFolder(run).outputs("test"))
    first, how = tsne_places(outputs.embedding.astype(float), 3)
    second, _ = tsne_places(outputs.embedding.astype(float), 3)
    assert np.array_equal(first, second)
    assert "scikit-learn" in how
    nearest = np.linalg.norm(first[:, None] - first[None], axis=2) + np.eye(len(first)) * 1e9
    same = outputs.group[nearest.argmin(axis=1)] == outputs.group
    assert same.mean() > 0.8  # groups lie apart in the drawn embeddings


def test_heat_maps_without_faces_say_why(run: Path) -> None:
    from dfad_bench.report.run_figures.base import HeatCell
    from dfad_bench.report.run_figures.heat_map_grid import make

    arrays = RunArrays(run)
    cells = {arrays.test.seen[0]: HeatCell(np.eye(16), 3, "face")}
    heat = {"a": RunHeat("Grad-CAM of x", cells), "b": RunHeat(reason="no checkpoint")}
    facts = ReportFacts({"a": arrays, "b": arrays}, {"a": run, "b": run}, heat=heat.__getitem__, no_pixels="forbidden")
    figure, absent = make(facts)
    assert isinstance(figure, MadeFigure)
    assert isinstance(absent, AbsentFigure)
    assert "Faces are not shown: forbidden" in figure.note
    assert (absent.of, absent.reason) == ("b", "no checkpoint")
    values = [row["value"] for row in figure.table.rows]
    assert sum(values) / 64 == pytest.approx(np.eye(16).mean())


def test_errors_by_source_are_counted(run: Path) -> None:
    from dfad_bench.report.run_figures.source_errors import make_sources

    arrays = RunArrays(run)
    (figure,) = make_sources(ReportFacts({"a": arrays}, {"a": run}))
    assert isinstance(figure, MadeFigure)
    rows = [row for row in figure.table.rows if row["answer"] == "attribution"]
    seen = arrays.test.of(arrays.test.seen)
    assert sum(row["n"] for row in rows) == seen.sum()
    assert sum(row["wrong"] for row in rows) == (~arrays.test.named_rightly[seen]).sum()
    excess = [row["wrong"] - row["n"] * sum(r["wrong"] for r in rows) / seen.sum() for row in rows]
    assert excess == sorted(excess, reverse=True)
