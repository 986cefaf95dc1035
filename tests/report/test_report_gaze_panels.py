"""Figures of a gaze study as drawings: legible, and what they show is what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.gaze_figures import MANY, SIDE, make, rows_of, shown_of
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.gaze.analysis import analyse
from dfad_bench.report.figures import style
from dfad_bench.report.figures.gaze_fid import DEG2_PER_RAD2, DrawnFace, draw_fid_figure
from dfad_bench.report.figures.gaze_pairs import PairPanel, draw_pairs_figure
from dfad_bench.report.figures.gaze_scatter import draw_scatter_figure, drawn_of, ellipse_rad


def renderer_of(figure: Figure) -> RendererAgg:
    assert isinstance(figure.canvas, FigureCanvasAgg)
    return figure.canvas.get_renderer()


def assert_legible(figure: Figure) -> None:
    """Nothing is cut off, no text is too small, no two texts or pictures lie over each other."""
    renderer = renderer_of(figure)
    figure.draw(renderer)
    wide, high = figure.canvas.get_width_height()
    hidden = out_of_view(figure)
    found = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible() and id(t) not in hidden]
    boxes = [text.get_window_extent(renderer) for text in found]
    assert len(boxes) > 3
    for text, box in zip(found, boxes, strict=True):
        assert text.get_fontsize() >= style.SMALL_PT, text.get_text()
        assert min(box.x0, box.y0) >= -0.5, text.get_text()
        assert box.x1 <= wide + 0.5, text.get_text()
        assert box.y1 <= high + 0.5, text.get_text()
    panels = [axes.get_window_extent(renderer) for axes in figure.axes]
    for kind in (boxes, panels):
        for index, box in enumerate(kind):
            clashes = [other for other in kind[:index] if overlap(box, other) > 1]
            assert not clashes, [found[index].get_text() if kind is boxes else index, len(clashes)]


def out_of_view(figure: Figure) -> set[int]:
    """Tick labels beyond their axes' limits, which are not drawn."""
    return {
        id(label)
        for axes in figure.axes
        for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not min(ends) <= tick.get_loc() <= max(ends)
    }


def overlap(a: Any, b: Any) -> float:
    """Pixels of the smaller side of what two boxes share."""
    return min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0))


@pytest.mark.heavy
@pytest.mark.parametrize("count", [1, 25, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 9))])
def test_fid_figure_is_legible_and_shows_what_was_measured(count: int, tmp_path: Path) -> None:
    _, rows, names = rows_of(count, tmp_path)
    with style.drawing():
        figure = draw_fid_figure(
            rows, shown_of(rows), title="FID, estimator toy", rule="by hash " * 30, names=names, least=4
        )
        assert_legible(figure)
    assert figure.get_figwidth() == (style.COLUMN_IN if count <= 4 else style.WIDE_IN)
    assert figure.get_figheight() < 9.5  # a page
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 2 * (count + 1)
    bars = {}
    for axes in figure.axes:
        labels = [label.get_text().replace("\n", "") for label in axes.get_xticklabels()]
        for bar in axes.patches:
            bars[labels[round(bar.get_x() + bar.get_width() / 2)]] = bar
    assert len(bars) == count
    for row in rows[:-1]:
        bar = next(bar for label, bar in bars.items() if label.startswith(row["generator"]))
        assert bar.get_height() == pytest.approx(row["fid_rad2"] * DEG2_PER_RAD2)
        assert bar.get_hatch() == style.FAMILY_HATCHES[row["family"]]
        assert np.allclose(bar.get_facecolor()[:3], rgb(style.FORGERY_COLOURS[row["forgery"]]))


def rgb(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def test_floor_and_interval_are_drawn_where_they_are(tmp_path: Path) -> None:
    _, rows, names = rows_of(1, tmp_path)
    row = {**rows[0], "fid_rad2": 0.02, "unbiased_rad2": 0.015, "low_rad2": 0.01, "high_rad2": 0.03}
    row |= {"floor_rad2": 0.004, "floor_high_rad2": 0.008}
    with style.drawing():
        figure = draw_fid_figure([row], shown_of(rows), title="t", rule="r", names=names, least=4)
    axes = next(axes for axes in figure.axes if axes.patches)
    lines = [segment * [1, 1 / DEG2_PER_RAD2] for lines in axes.collections for segment in segments(lines)]
    whisker = [segment for segment in lines if segment[0, 0] == segment[1, 0]]
    floors = [segment for segment in lines if segment[0, 1] == segment[1, 1]]
    assert len(whisker) == 1
    assert whisker[0][:, 1] == pytest.approx([0.01, 0.03])
    assert [segment[0, 1] for segment in floors] == pytest.approx([0.004, 0.004])  # of the real faces, too
    dots = [line.get_ydata()[0] / DEG2_PER_RAD2 for line in axes.lines]
    assert dots == pytest.approx([0.015])


def segments(lines: Any) -> list[np.ndarray]:
    return list(lines.get_segments()) if hasattr(lines, "get_segments") else []


def test_what_has_no_distance_is_named_and_faces_of_low_confidence_are_marked(tmp_path: Path) -> None:
    _, rows, names = rows_of(2, tmp_path)
    rows[0] = {**rows[0], "fid_rad2": None}
    key = rows[1]["dataset"], rows[1]["generator"]
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    with style.drawing():
        figure = draw_fid_figure(
            rows, {key: DrawnFace(picture, picture, confident=False)}, title="t", rule="r", names=names, least=4
        )
    note = " ".join(figure.texts[-1].get_text().split())
    assert f"Without a distance: {rows[0]['generator']}." in note
    assert "*: none of the faces has a confident gaze, so there is no arrow." in note
    assert any("*" in label.get_text() for axes in figure.axes for label in axes.get_xticklabels())


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("count", "spread"),
    [
        (1, 1.0),
        (25, 1.0),
        (5, 0.1),
        (5, 3.0),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((4, 1.0), (5, 0.55), (5, 0.75))),
    ],
)
def test_clouds_are_legible_and_share_their_axes(count: int, spread: float, tmp_path: Path) -> None:
    report, rows, names = rows_of(count, tmp_path, spread)
    with style.drawing():
        figure = draw_scatter_figure(rows, report.points, title="Gaze, estimator toy", names=names, least=4)
        assert_legible(figure)
    assert len(figure.axes) == count
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    left, right = figure.axes[0].get_xlim()
    assert left > right  # yaw > 0 is to the left
    for row in rows[:-1]:
        title = f"FID {row['fid_rad2'] * DEG2_PER_RAD2:.1f} deg², n = 5"
        assert sum(title in axes.get_title() for axes in figure.axes) >= 1


@pytest.mark.parametrize("sigma", [1, 2])
def test_ellipse_has_the_axes_of_the_covariance(sigma: int) -> None:
    mean, cov = np.array([0.1, -0.2]), np.array([[0.02, 0.012], [0.012, 0.05]])
    outline = ellipse_rad(mean, cov, sigma) - mean[:, None]
    far = np.linalg.norm(outline, axis=0)
    values, vectors = np.linalg.eigh(cov)
    assert far.max() == pytest.approx(sigma * np.sqrt(values[1]), rel=1e-3)
    assert far.min() == pytest.approx(sigma * np.sqrt(values[0]), rel=1e-3)
    assert abs(outline[:, far.argmax()] @ vectors[:, 1]) == pytest.approx(far.max(), rel=1e-3)
    # every point is as far in the metric of the Gaussian
    assert np.einsum("in,ij,jn->n", outline, np.linalg.inv(cov), outline) == pytest.approx(sigma**2)


@pytest.mark.parametrize(
    ("generators", "estimators"),
    [(1, 1), pytest.param(12, 2, marks=pytest.mark.heavy), pytest.param(2, 2, marks=pytest.mark.slow)],
)
def test_pairs_are_legible_with_the_cosine_of_each_estimator(generators: int, estimators: int, tmp_path: Path) -> None:
    _, frame = make(tmp_path / "m", MANY[:generators], per=5, forgery="FS")
    names = ["geometric", "eth_xgaze"][:estimators]
    rows = {}
    for index, name in enumerate(names):
        found = analyse(frame.assign(yaw_rad=frame["yaw_rad"] + 0.1 * index), resamples=20).flat()
        rows[name] = [{**row, "cosine_2d_low": 0.5, "cosine_2d_high": 0.75} for row in found]
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    panels = [
        PairPanel(
            ("toy", name), name, "FS", dict.fromkeys(names, (picture, picture)), dict.fromkeys(names, -0.25), True
        )
        for name in MANY[:generators]
    ]
    with style.drawing():
        figure = draw_pairs_figure(
            panels, rows, title="Pairs, estimator toy", rule="by hash " * 30, left_out=["gone (no target)"]
        )
        assert_legible(figure)
    said = [text.get_text() for text in figure.texts]
    for of_estimator in rows.values():
        for row in of_estimator[:-1]:
            mean = f"mean {row['cosine_2d']:.2f} (0.50 to 0.75)"
            assert f"{mean}\nthis pair -0.25".replace("-", "−") in said
    assert sum(bool(axes.images) for axes in figure.axes) == 2 * generators * estimators
    assert "Left out: gone (no target)." in " ".join(" ".join(said).split())
    assert estimators == 1 or set(names) <= set(said)


def test_few_pairs_are_counted_where_they_have_no_interval(tmp_path: Path) -> None:
    _, frame = make(tmp_path / "m", ["swap"], per=3, forgery="FS")
    rows = {"toy": analyse(frame, resamples=20).flat()}
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    panel = PairPanel(("toy", "swap"), "swap", "FS", {"toy": (picture, picture)}, {"toy": 0.5}, True)
    with style.drawing():
        figure = draw_pairs_figure([panel], rows, title="Pairs", rule="by hash", left_out=[])
        assert_legible(figure)
    said = [text.get_text() for text in figure.texts]
    assert any(text.startswith("mean ") and "(n = 3)\nthis pair 0.50" in text for text in said)


def test_of_many_faces_the_points_drawn_are_from_the_whole_list() -> None:
    """Ids are in the order of folders and persons: the first few hundred are no fair sample."""
    assert drawn_of(np.arange(10.0)).tolist() == list(range(10))
    drawn = drawn_of(np.arange(10_000.0))
    assert len(drawn) == len(set(drawn.tolist())) == 400
    assert (drawn[0], drawn[-1]) == (0, 9999)
    assert np.diff(drawn).max() <= 26


def test_names_are_broken_where_they_are_too_wide() -> None:
    assert style.wrapped_name("few_shot_face_translation", 0.7) == "few_shot_face_\ntranslation"
    assert style.wrapped_name("FewShotFaceTranslation", 0.6) == "FewShotFace\nTranslation"
    assert style.wrapped_name("StyleGAN2", 0.6) == "StyleGAN2"


@pytest.mark.parametrize("text", ["MMMM WWWW " * 40, "il, ij. " * 80, "geometric \N{MINUS SIGN}0.02 (no target) " * 20])
def test_lines_fill_the_width_and_fit_it(text: str) -> None:
    lines = style.wrapped(text, 3.0, 7.0).split("\n")
    with style.drawing():
        figure = style.new_figure(4, 1)
        drawn = [figure.text(0, 0, line, fontsize=7.0) for line in lines]
        renderer = renderer_of(figure)
        widths = [line.get_window_extent(renderer).width / figure.dpi for line in drawn]
    assert len(lines) > 1
    assert max(widths) < 3.1
    assert min(widths[:-1]) > 2.2
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.heavy
def test_the_longest_names_of_the_taxonomy_fit(tmp_path: Path) -> None:
    _, rows, names = rows_of(25, tmp_path)
    printed = sorted((generator.display for generator in taxonomy()), key=len)[-25:]
    names = dict(zip(names, printed, strict=True))
    with style.drawing():
        assert_legible(draw_fid_figure(rows, shown_of(rows), title="FID", rule="by hash", names=names, least=4))


@pytest.mark.parametrize("few", [2, 3])
def test_groups_of_two_or_three_faces_say_so_and_set_no_axis(few: int, tmp_path: Path) -> None:
    report, rows, names = rows_of(2, tmp_path)
    small = {**rows[0], "n": few, "fid_rad2": 5.0, "low_rad2": 4.0, "high_rad2": 9.0, "floor_rad2": 7.0}
    with style.drawing():
        figure = draw_fid_figure([small, *rows[1:]], shown_of(rows), title="FID", rule="by hash", names=names, least=4)
        alone = draw_fid_figure(rows[1:], shown_of(rows[1:]), title="FID", rule="by hash", names=names, least=4)
        clouds = draw_scatter_figure([small, *rows[1:]], report.points, title="Gaze", names=names, least=4)
        whole = draw_scatter_figure(rows[1:], report.points, title="Gaze", names=names, least=4)
    bars, other = (next(axes for axes in of.axes if axes.patches) for of in (figure, alone))
    assert len(bars.patches) == 1
    assert bars.get_ylim() == other.get_ylim()
    assert [text.get_text() for text in bars.texts] == [f"n = {few}"]
    assert not any("16413" in label.get_text() for label in bars.get_xticklabels())  # 5 rad2 in square degrees
    assert "No bar below 4 faces a side." in " ".join(figure.texts[-1].get_text().split())
    panel = next(axes for axes in clouds.axes if f"n = {few}" in axes.get_title())
    assert "FID" not in panel.get_title()
    assert (len(panel.lines), len(panel.collections)) == (0, 2)  # points, no outlines
    assert panel.get_xlim() == whole.axes[0].get_xlim()
