from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.images import encode_png
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.manifest_schema import sample_id
from dfad_bench.gaze.analysis import GazeReport, analyse
from dfad_bench.gaze.settings import GazeSettings
from dfad_bench.report.figures import style
from dfad_bench.report.figures.gaze import NO_PAIRS, figure_notes, save_gaze_figures
from dfad_bench.report.figures.gaze_fid import DEG2_PER_RAD2, DrawnFace, draw_fid_figure
from dfad_bench.report.figures.gaze_pairs import PairPanel, draw_pairs_figure
from dfad_bench.report.figures.gaze_scatter import draw_scatter_figure, drawn_of, ellipse_rad

SIDE = 64
LANDMARKS = [22.0, 26.0, 42.0, 26.0, 32.0, 38.0, 24.0, 47.0, 40.0, 47.0]
FORGERIES = ("EFS", "FS", "AM", "FR", "TF")
FAMILIES = ("gan", "diffusion", "flow", "vae", "autoregressive", "graphics", "none")
MANY = [f"generator_with_long_name-{index:02d}" for index in range(25)]


def make(
    folder: Path, generators: list[str], *, dataset: str = "toy", per: int = 4, forgery: str | None = None
) -> tuple[Manifest, pd.DataFrame]:
    """A manifest of flat faces, and its frame with random gaze; forgery types and families in turn."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number, generator in enumerate(["real", *generators]):
        real = generator == "real"
        kind = forgery or FORGERIES[(number - 1) % len(FORGERIES)]
        for index in range(per):
            origin = f"{generator}/{index}.png"
            target = None if real or kind == "EFS" else sample_id(dataset, f"real/{index}.png")
            shade = np.broadcast_to(rng.integers(60, 200, 3).astype(np.uint8), (SIDE, SIDE, 3)).copy()
            rows.append(
                {
                    "sample_id": sample_id(dataset, origin),
                    "dataset": dataset,
                    "generator": generator,
                    "forgery": "none" if real else kind,
                    "family": "none" if real else FAMILIES[number % len(FAMILIES)],
                    "attribution_label": 0 if real else -1,
                    "detection_label": 0 if real else 1,
                    "origin": origin,
                    "target_id": target,
                    "status": "ok",
                    "image": {"bytes": encode_png(shade), "path": None},
                    "crop_sha256": hashlib.sha256(shade.tobytes()).hexdigest(),
                    "landmarks": LANDMARKS,
                    "crop_box": [0.0, 0.0, float(SIDE), float(SIDE)],
                    "crop_affine": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
                    "width": SIDE,
                    "height": SIDE,
                }
            )
    manifest = write_manifest(folder, dataset, rows)
    frame = manifest.frame(
        ["sample_id", "dataset", "generator", "forgery", "family", "detection_label", "target_id"]
    ).assign(confidence=0.9, flags=0)
    frame[["pitch_rad", "yaw_rad"]] = rng.normal(0, [0.08, 0.15], (len(frame), 2))
    return manifest, frame


def save(
    out: Path, manifest: Manifest, frames: dict[str, pd.DataFrame], seed: int = 0
) -> tuple[list[Path], dict[str, GazeReport]]:
    reports = {name: analyse(frame, resamples=20) for name, frame in frames.items()}
    return save_gaze_figures(reports, frames, [manifest], out, GazeSettings(seed=seed)), reports


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], dict[str, GazeReport]]:
    """Figures of two estimators on four generators of synthetic faces."""
    folder = tmp_path_factory.mktemp("two")
    manifest, frame = make(folder / "m", ["gen-efs", "gen-fs", "gen-am", "gen-fr"], dataset="synthetic", per=8)
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
    written: tuple[list[Path], dict[str, GazeReport]],
) -> None:
    for path in written[0]:
        if path.suffix == ".svg":
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


def rows_of(
    count: int, tmp_path: Path, spread: float = 1.0
) -> tuple[GazeReport, list[dict[str, Any]], dict[tuple[str, str], str]]:
    _, frame = make(tmp_path / "m", MANY[:count], per=5)
    frame[["pitch_rad", "yaw_rad"]] *= spread
    report = analyse(frame, resamples=20)
    rows = report.flat()
    return report, rows, {(row["dataset"], row["generator"]): row["generator"] for row in rows[:-1]}


def shown_of(rows: list[dict[str, Any]]) -> dict[tuple[str, str], DrawnFace]:
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    keys = [("", "real"), *((row["dataset"], row["generator"]) for row in rows[:-1])]
    return {key: DrawnFace(picture, picture) for key in keys}


def assert_legible(figure: Figure) -> None:
    """Nothing is cut off, no text is too small, no two texts or pictures lie over each other."""
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
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


@pytest.mark.parametrize(("generators", "estimators"), [(1, 1), (12, 2), pytest.param(2, 2, marks=pytest.mark.slow)])
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
        renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
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
