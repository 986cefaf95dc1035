from __future__ import annotations

import hashlib
import inspect
import types
import warnings

import numpy as np
import pandas as pd
import pytest
from gaze_frames import gaze_frame, study_of

from dfad_bench.core.errors import ManifestError, MissingDependencyError, UnknownNameError
from dfad_bench.gaze.analysis import GazeReport, analyse
from dfad_bench.gaze.backends import CLOSED_FORM, PYTORCH_FID, accepts_disp, fid_backend, pytorch_fid_function
from dfad_bench.gaze.pairs import NO_PAIRS, NO_TARGET
from dfad_bench.gaze.resample import choose
from dfad_bench.metrics.frechet import gaussian, gaussian_frechet_2d


def rows_by_name(report: GazeReport):
    return {row.generator: row for row in report.rows}


def test_bad_generators_are_rows_that_say_why_and_others_are_still_there() -> None:
    frame = gaze_frame({"flow": 80, "vae": 1, "hart": 12, "swap": 9, "edit": 4}).assign(status="ok")
    frame.loc[frame.generator == "hart", ["pitch_rad", "yaw_rad", "flags"]] = [np.nan, np.nan, 1]
    frame.loc[frame.generator == "swap", ["pitch_rad", "yaw_rad", "status"]] = [np.nan, np.nan, "no_face"]
    report = analyse(frame, resamples=20)
    rows = rows_by_name(report)
    assert set(rows) == {"flow", "vae", "hart", "swap", "edit"}
    assert rows["flow"].fid.fid_rad2 > 0
    assert rows["vae"].fid_verdict == "only 1 face"
    assert (rows["hart"].fid_verdict, rows["hart"].dropped, rows["hart"].found) == ("no face with a gaze", 12, 0)
    assert (rows["swap"].fid_verdict, rows["swap"].refused, rows["swap"].dropped) == ("all faces refused", 9, 0)
    assert (rows["hart"].pairs.verdict, rows["swap"].pairs.verdict) == (NO_TARGET, NO_PAIRS)
    assert rows["edit"].pairs.n == 4
    assert rows["edit"].pairs.cosine_2d.value is not None
    assert (rows["edit"].pairs.cosine_2d.low, rows["edit"].fid.low_rad2) == (None, None)  # four sources: no interval
    assert rows["flow"].fid.low_rad2 < rows["flow"].fid.high_rad2
    text = "\n".join(report.notes)
    assert "toy/vae: only 1 face; a distance needs two faces" in text
    assert "toy/swap: all faces refused (9 refused, 0 without a gaze)" in text
    assert "9 faces were refused when the manifests were built" in text
    assert "12 faces without a gaze" in text
    assert all(report.points["toy", name][1].shape == (0, 2) for name in ("hart", "swap"))


def test_without_pairs_one_note_says_what_to_do() -> None:
    frame = gaze_frame({"swap": 60})
    frame["target_id"] = None
    report = analyse(frame, resamples=20)
    assert report.control.verdict == NO_PAIRS
    assert sum("No forged face has its target in these manifests" in note for note in report.notes) == 1
    only_synthesised = analyse(gaze_frame({"flow": 60}), resamples=20)
    assert not any("target at hand" in note for note in only_synthesised.notes)


def test_all_forged_faces_refused_is_one_line() -> None:
    frame = gaze_frame({"flow": 5})
    frame.loc[frame.generator == "flow", "pitch_rad"] = np.nan
    with pytest.raises(ManifestError, match="no forged face with a gaze"):
        analyse(frame)


def test_one_real_face_gives_no_distance() -> None:
    row = analyse(gaze_frame({"flow": 20}, reals=1), resamples=20).rows[0]
    assert (row.fid.n, row.fid.fid_rad2, row.fid_verdict) == (1, None, "only 1 real face")


@pytest.mark.parametrize("backend", [CLOSED_FORM, PYTORCH_FID])
@pytest.mark.parametrize(
    "fake",
    [
        np.zeros((30, 2)),
        np.linspace(0, 0.2, 30)[:, None] * [1.0, 2.0],
        np.array([[0.1, 0.2], [0.0, 0.1]]),
        np.random.default_rng(0).standard_normal((30, 2)) * 1e-6,
        np.full((30, 2), [np.pi / 2, -np.pi]),
    ],
    ids=["one point", "a line", "two faces", "tiny", "one far point"],
)
def test_singular_and_tiny_gaze(fake: np.ndarray, backend: str) -> None:
    real = np.random.default_rng(1).standard_normal((len(fake), 2)) * [0.08, 0.15]
    study = study_of(real, fake, resamples=50, distance=fid_backend(backend))
    (mean_a, cov_a), (mean_b, cov_b) = gaussian(real), gaussian(fake)
    eigen = np.linalg.eigvals(cov_a @ cov_b).real.clip(min=0)
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * np.sqrt(eigen).sum()
    assert study.fid_rad2 == pytest.approx(expected, abs=1e-8)
    if len(fake) > 2:
        assert 0 <= study.low_rad2 <= study.unbiased_rad2 <= study.high_rad2
        assert np.isfinite(study.high_rad2)
    else:
        assert (study.low_rad2, study.high_rad2) == (None, None)
    assert np.isfinite([study.unbiased_rad2, study.mean_part_rad2, study.covariance_part_rad2]).all()


def test_backends_agree_in_every_number() -> None:
    frame = gaze_frame({"flow": 150, "vae": 90, "swap": 70, "hart": 5}, shift={"flow": 0.1})
    mine, theirs = (analyse(frame, resamples=60, backend=name).flat() for name in (CLOSED_FORM, PYTORCH_FID))
    compared = 0
    for a, b in zip(mine, theirs, strict=True):
        for key in (key for key, value in a.items() if key.endswith("rad2") and isinstance(value, float)):
            assert a[key] == pytest.approx(b[key], rel=0, abs=1e-9)
            compared += 1
        assert {k: v for k, v in a.items() if not k.endswith("rad2")} == {
            k: v for k, v in b.items() if not k.endswith("rad2")
        }
    assert compared >= 4 * 8
    with pytest.raises(UnknownNameError, match="Did you mean pytorch-fid"):
        analyse(frame, backend="pytorch_fid")


def test_where_the_product_has_no_root_pytorch_fid_is_silent_and_near(capsys: pytest.CaptureFixture[str]) -> None:
    """It then adds 1e-6 to both diagonals and says so on stdout, where JSON goes."""
    cov_a, cov_b = np.array([[0.0, -3e-18], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, -5e-20]])
    from scipy.linalg import sqrtm

    theirs = pytest.importorskip("pytorch_fid.fid_score").calculate_frechet_distance
    arguments = (np.zeros(2), cov_a, np.zeros(2), cov_b)
    if "disp" in inspect.signature(sqrtm).parameters:  # else their function raises, and ours gives it what it calls
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs(*arguments)
        assert "singular product" in capsys.readouterr().out
    assert float(fid_backend(PYTORCH_FID)(*arguments)) == pytest.approx(0, abs=1e-5)
    assert capsys.readouterr().out == ""


def test_pytorch_fid_runs_on_a_scipy_without_disp_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    import scipy.linalg

    before = scipy.linalg.sqrtm

    def newer(a):
        return before(a)

    newest = types.SimpleNamespace(sqrtm=newer)
    monkeypatch.setattr(fid_score, "linalg", newest)
    pytorch_fid_function.cache_clear()
    try:
        rng = np.random.default_rng(0)
        (mean_a, cov_a), (mean_b, cov_b) = (gaussian(rng.standard_normal((20, 2))) for _ in range(2))
        with pytest.raises(TypeError, match="disp"):
            fid_score.calculate_frechet_distance(mean_a, cov_a, mean_b, cov_b)
        found = pytorch_fid_function()(mean_a, cov_a, mean_b, cov_b)
        assert found == pytest.approx(float(gaussian_frechet_2d(mean_a, cov_a, mean_b, cov_b)), abs=1e-9)
        assert fid_score.linalg is newest
        assert scipy.linalg.sqrtm is before
    finally:
        pytorch_fid_function.cache_clear()


def test_only_a_plain_disp_is_used_as_it_is() -> None:
    assert accepts_disp(lambda a, disp=True: a)
    assert not accepts_disp(lambda a, disp=...: a)  # SciPy 1.17 has a mark there, and warns of any other value
    assert not accepts_disp(lambda a: a)


def test_pytorch_fid_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pytorch_fid.fid_score", None)
    pytorch_fid_function.cache_clear()
    try:
        with pytest.raises(MissingDependencyError, match="pip install pytorch-fid"):
            analyse(gaze_frame({"flow": 60}), resamples=5, backend=PYTORCH_FID)
    finally:
        pytorch_fid_function.cache_clear()


def test_unequal_n_takes_all_that_each_has() -> None:
    frame = gaze_frame({"flow": 300, "vae": 120, "hart": 7}, reals=250)
    report = analyse(frame, resamples=20, equal_n=False)
    assert {row.generator: row.fid.n for row in report.rows} == {"flow": 250, "vae": 120, "hart": 7}
    floors = {row.generator: row.fid.floor_rad2 for row in report.rows}
    assert floors["flow"] < floors["vae"] < floors["hart"]
    assert any("as each generator has" in note for note in report.notes)
    capped = analyse(frame, samples=100, resamples=20, equal_n=False)
    assert {row.fid.n for row in capped.rows} == {100, 7}


def test_hashes_are_of_the_ids_that_were_sampled() -> None:
    frame = gaze_frame({"swap": 90}, reals=200)
    first, again, other = (analyse(frame, samples=40, seed=seed, resamples=5).rows[0] for seed in (0, 0, 1))
    sides = [frame[frame.detection_label == label].sample_id.sort_values().tolist() for label in (0, 1)]
    chosen = [[side[i] for i in choose(side, 40, seed=0)] for side in sides]
    text = "\n\n".join("\n".join(side) for side in chosen)
    assert first.faces_sha256 == hashlib.sha256(text.encode()).hexdigest()
    target = frame.set_index("sample_id").target_id
    lines = sorted(f"{name} {target[name]}" for name in chosen[1])
    assert first.pairs.pairs_sha256 == hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (first.faces_sha256, first.pairs.pairs_sha256) == (again.faces_sha256, again.pairs.pairs_sha256)
    assert first.faces_sha256 != other.faces_sha256
    assert first.pairs.pairs_sha256 != other.pairs.pairs_sha256


def test_a_generators_row_does_not_depend_on_the_others() -> None:
    frame = gaze_frame({"flow": 100, "vae": 100, "swap": 100})
    alone = frame[frame.generator.isin(["real", "vae"])]
    pair = [rows_by_name(analyse(f, resamples=20))["vae"] for f in (frame, alone)]
    assert vars(pair[0].fid) == vars(pair[1].fid)
    assert pd.Series(vars(pair[0])).drop("fid").equals(pd.Series(vars(pair[1])).drop("fid"))
