"""Figures of a gaze study as files: which are written, with which titles and notes, and always the same bytes."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.gaze_figures import make, rows_of, save
from PIL import Image

from dfad_bench.gaze.analysis import GazeReport, analyse
from dfad_bench.gaze.settings import GazeSettings
from dfad_bench.report.figures import style
from dfad_bench.report.figures.gaze import NO_PAIRS, figure_notes, save_gaze_figures
from dfad_bench.report.figures.gaze_fid import DrawnFace, draw_fid_figure


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], dict[str, GazeReport]]:
    """Figures of two estimators on four generators of synthetic faces."""
    return two_estimators(tmp_path_factory.mktemp("two"), ["gen-efs", "gen-fs", "gen-am", "gen-fr"], per=8)


def two_estimators(folder: Path, generators: list[str], per: int) -> tuple[list[Path], dict[str, GazeReport]]:
    manifest, frame = make(folder / "m", generators, dataset="synthetic", per=per)
    other = frame.assign(yaw_rad=frame["yaw_rad"] * 0.5 + 0.1)
    return save(folder / "out", manifest, {"geometric": frame, "eth_xgaze": other})


def texts(path: Path) -> str:
    return re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))


@pytest.mark.heavy
def test_every_figure_is_written_three_times_and_can_be_read(written: tuple[list[Path], dict[str, GazeReport]]) -> None:
    paths, reports = written
    stems = {f"gaze-{kind}-{name}" for kind in ("fid", "scatter") for name in reports} | {"gaze-pairs"}
    assert {path.name for path in paths} == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg", "pdf")}
    assert sorted(paths) == sorted(paths[0].parent.iterdir())
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
                assert image.width in {int(width * style.DPI) for width in (style.COLUMN_IN, style.WIDE_IN)}
                assert len(image.convert("L").getcolors() or []) > 20
        elif path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        else:
            assert path.read_bytes().startswith(b"%PDF")


def test_titles_name_estimators_and_say_that_faces_are_synthetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "SUFFIXES", ("svg",))  # three formats of five figures take seconds
    paths, _ = two_estimators(tmp_path, ["gen-efs", "gen-fs"], per=4)
    assert len(paths) == 5
    for path in paths:
        title = re.search(r"<dc:title>(.*?)</dc:title>", texts(path))
        assert title is not None
        named = ("geometric", "eth_xgaze") if path.stem == "gaze-pairs" else (path.stem.split("-")[-1],)
        assert all(name in title[1] for name in named)
        assert title[1].endswith("synthetic faces")
    assert style.data_note(["toy"]) == ""
    assert style.data_note(["synthetic", "toy"]) == ", some faces synthetic"


@pytest.mark.heavy
def test_same_faces_in_another_order_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    manifest, frame = make(tmp_path / "m", ["swap-a"], forgery="FS", per=12)
    first, reports = save(tmp_path / "one", manifest, {"geometric": frame})
    second, _ = save(tmp_path / "two", manifest, {"geometric": frame.sample(frac=1, random_state=4)})
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    other = save_gaze_figures(reports, {"geometric": frame}, [manifest], tmp_path / "three", GazeSettings(seed=1))
    assert first[0].read_bytes() != other[0].read_bytes()


@pytest.mark.heavy
def test_without_pairs_that_figure_is_not_written_nor_left_from_before_and_the_caller_is_told(tmp_path: Path) -> None:
    manifest, frame = make(tmp_path / "m", ["swap-a"], forgery="FS")
    paths, reports = save(tmp_path / "out", manifest, {"geometric": frame})
    assert any(path.stem == "gaze-pairs" for path in paths)
    assert figure_notes(reports) == []
    paths, reports = save(tmp_path / "out", manifest, {"geometric": frame.assign(target_id=None)})
    assert not any(path.stem == "gaze-pairs" for path in paths)
    assert not list((tmp_path / "out").glob("gaze-pairs*"))
    assert figure_notes(reports) == [NO_PAIRS]


def test_a_generator_of_one_face_has_no_distance_and_no_figure_and_the_caller_is_told(tmp_path: Path) -> None:
    manifest, frame = make(tmp_path / "m", ["swap-a"], forgery="FS")
    forged = frame.index[frame["detection_label"] == 1]
    paths, reports = save(tmp_path / "out", manifest, {"geometric": frame.drop(forged[1:])})
    assert {path.stem for path in paths} == {"gaze-pairs"}
    assert figure_notes(reports) == ["no FID figure of geometric: no generator has a distance"]


@pytest.mark.heavy
def test_an_unconfident_gaze_has_no_arrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfad_bench.gaze import examples

    manifest, frame = make(tmp_path / "m", ["swap-a"], forgery="FS")
    drawn = []
    monkeypatch.setattr(examples, "draw_on_crop", lambda crop, *_, **__: drawn.append("crop") or crop)
    monkeypatch.setattr(examples, "draw_on_patch", lambda patch, *_: drawn.append("patch") or patch)
    save(tmp_path / "sure", manifest, {"geometric": frame})
    assert drawn.count("crop") == 4  # a real and a forged face, and a pair
    assert drawn.count("patch") == 2
    drawn.clear()
    save(tmp_path / "unsure", manifest, {"geometric": frame.assign(confidence=0.2)})
    assert drawn == []


@pytest.mark.heavy
def test_chosen_generators_are_in_the_figures_and_the_title_says_so(tmp_path: Path) -> None:
    manifest, frame = make(tmp_path / "m", ["swap-a", "swap-b", "swap-c"], forgery="FS")
    reports = {"geometric": analyse(frame, resamples=20)}
    settings = GazeSettings(generators=("swap-b",))
    paths = save_gaze_figures(reports, {"geometric": frame}, [manifest], tmp_path / "out", settings)
    assert len(paths) == 3 * len(style.SUFFIXES)
    for path in paths:
        if path.suffix == ".svg":
            assert "1 of 3 generators" in texts(path)


@pytest.mark.heavy
def test_svgs_of_many_photographs_stay_below_a_megabyte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    _, rows, names = rows_of(25, tmp_path)
    blurred = [Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).resize((256, 256)) for _ in rows]
    shown = {
        (row["dataset"], row["generator"]): DrawnFace(np.asarray(face), np.asarray(face.resize((224, 224))))
        for row, face in zip(rows, blurred, strict=True)
    }
    with style.drawing():
        figure = draw_fid_figure(rows, shown, title="FID", rule="by hash", names=names, least=4)
        paths = {path.suffix: path for path in style.save(figure, tmp_path, "fid", "FID")}
    assert paths[".svg"].stat().st_size < 1_000_000
    svg = texts(paths[".svg"])
    assert svg.count("data:image/jpeg;base64,") == 50
    assert "data:image/png" not in svg
    ElementTree.parse(paths[".svg"])
