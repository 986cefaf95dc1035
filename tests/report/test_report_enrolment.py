"""The curve of enrolment: fair draws, no enrolled source among the questions, and what seen faces pay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.open_runs import write_open_run
from helpers.toy import toy_protocol
from sklearn.neighbors import KNeighborsClassifier

import dfad_bench as dfad
from dfad_bench.api.open_world import draw_open_world
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.protocol import Group
from dfad_bench.metrics.enrolment import drawn_episodes, name_rows, prototypes_of, unit_length
from dfad_bench.report.open_world import enrolment_table
from dfad_bench.report.open_world.run_arrays import RunArrays

NEW = ("synthetic-flow-a", "synthetic-gan-b", "synthetic-diffusion-b")
PROTOCOL = toy_protocol(
    unseen=(Group("real", "synthetic-outdoor"), *(Group(name, "synthetic") for name in NEW))
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open") / "run"
    write_open_run(folder, PROTOCOL, spread=4.0, sources={"test": 12})
    return folder


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment_table, "EPISODES", 12)


def test_episodes_enrol_a_face_a_source_and_ask_faces_of_others() -> None:
    group = np.repeat(["a", "b", "seen"], 40)
    source = np.tile(np.repeat(np.arange(10), 4), 3)  # all share their sources
    for shots in (1, 3, 9):
        for episode in drawn_episodes(group, source, ["a", "b"], shots, 5, seed=1):
            used = set()
            for key, rows in episode.enrolled.items():
                assert set(group[rows]) == {key}
                assert len(rows) == len(set(source[rows])) == shots
                used |= set(source[rows])
            assert set(source[episode.asked]) == set(range(10)) - used
            assert len(used) == shots  # shared sources are the same ones, so that most remain
    with pytest.raises(ValueError, match="a has 10 sources; 10 are enrolled"):
        next(drawn_episodes(group, source, ["a"], 10, 1, seed=0))


def test_more_shots_enrol_the_fewer_ones_again_and_seeds_decide() -> None:
    rng = np.random.default_rng(0)
    group, source = np.repeat(["a", "b"], 30), rng.integers(0, 12, 60)
    draws = {k: list(drawn_episodes(group, source, ["a", "b"], k, 3, seed=4)) for k in (2, 5)}
    for few, more in zip(draws[2], draws[5], strict=True):
        assert all(few.enrolled[key].tolist() == more.enrolled[key][:2].tolist() for key in ("a", "b"))
    other = next(drawn_episodes(group, source, ["a", "b"], 5, 1, seed=5))
    assert other.enrolled["a"].tolist() != draws[5][0].enrolled["a"].tolist()


def test_names_are_those_of_the_nearest_prototype() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 20)
    points = unit_length(rng.normal(size=(4, 6))[labels] + rng.normal(size=(80, 6)))
    gallery, names = prototypes_of(points, labels)
    theirs = KNeighborsClassifier(1).fit(gallery, names).predict(points)
    new = np.array([False, False, True, True])
    asked = rng.random(80) < 0.8
    found = name_rows(points, labels, gallery, new, asked)
    assert np.array_equal(found.rightly[asked], (theirs == labels)[asked].astype(float))
    assert np.array_equal(found.as_new[asked], new[theirs][asked].astype(float))
    assert np.isnan(found.rightly[~asked]).all()
    assert np.isnan(found.among_new[labels < 2]).all()
    alike = name_rows(np.ones((1, 2)), np.array([0]), np.ones((2, 2)), np.array([False, True]), np.ones(1, bool))
    assert (alike.rightly.tolist(), alike.as_new.tolist()) == ([0.5], [0.5])


def test_more_faces_name_new_generators_better_and_seen_ones_pay(run: Path) -> None:
    rows = dfad.enrolment(run, (1, 5, 10), classifiers=("prototype",), resamples=60).rows
    assert [row["shots"] for row in rows] == [0, 1, 5, 10]
    none, one, five, ten = rows
    assert (none["new"], none["taken"], none.get("new_faces_low")) == (0.0, 0.0, None)
    assert none["new"] < one["new"] < ten["new"]
    assert five["among_new"] >= five["new"]
    assert none["seen"] >= ten["seen"] - 0.02
    assert {row["generators"] for row in rows} == {3}
    assert ten["new_faces_low"] < ten["new"] < ten["new_faces_high"]
    assert ten["remark"] == "not estimable over generators: 3, 8 are needed"
    assert ten["chance"] == pytest.approx(1 / 3)
    assert five["harmonic"] == pytest.approx(2 / (1 / five["new"] + 1 / five["seen"]))


def test_one_shot_is_the_mean_over_its_episodes(run: Path) -> None:
    """Counted again episode by episode, face by face."""
    arrays = RunArrays(run, 0)
    faces, known = arrays.test, arrays.outputs("training")
    points = unit_length(arrays.outputs("test").embedding)
    prototypes, _ = prototypes_of(known.embedding, known.label)
    keys = [f"synthetic/{name}" for name in NEW]
    seed = enrolment_table.episode_seed(faces)
    hits: dict[str, list[bool]] = {key: [] for key in keys}
    for episode in drawn_episodes(faces.group, faces.source, keys, 1, 12, seed):
        gallery = [*prototypes, *(points[episode.enrolled[key][0]] for key in keys)]
        for row in np.flatnonzero(episode.asked):
            if faces.group[row] in keys:
                best = int(np.argmax([points[row] @ one for one in gallery]))
                hits[faces.group[row]].append(best == len(prototypes) + keys.index(faces.group[row]))
    (row,) = [
        row for row in dfad.enrolment(run, (1,), classifiers=("prototype",), resamples=0).rows if row["shots"] == 1
    ]
    assert row["new"] == pytest.approx(np.mean([np.mean(each) for each in hits.values()]))


def test_both_ways_of_naming_are_rows_on_the_same_draws(run: Path) -> None:
    rows = dfad.enrolment(run, (1, 5), resamples=0).rows
    assert [(row["classifier"], row["shots"]) for row in rows] == [
        (c, k) for c in ("prototype", "knn") for k in (0, 1, 5)
    ]
    prototype, knn = rows[:3], rows[3:]
    assert knn[0]["new"] == 0.0
    assert knn[1]["new"] < knn[2]["new"]
    assert prototype[1]["among_new"] == pytest.approx(knn[1]["among_new"])  # the mean of one face is that face
    with pytest.raises(ConfigError, match="no classifier 'svm'"):
        dfad.enrolment(run, (1,), classifiers=("svm",), resamples=0)  # type: ignore[arg-type]  # what a user may write


def test_neighbours_are_counted_face_by_face(run: Path) -> None:
    arrays = RunArrays(run, 0)
    faces, known = arrays.test, arrays.outputs("training")
    points, trained = unit_length(arrays.outputs("test").embedding), unit_length(known.embedding)
    keys = [f"synthetic/{name}" for name in NEW]
    hits: dict[str, list[bool]] = {key: [] for key in keys}
    for episode in drawn_episodes(faces.group, faces.source, keys, 1, 12, enrolment_table.episode_seed(faces)):
        every = np.concatenate([trained, *(points[episode.enrolled[key]] for key in keys)])
        names = [*known.label, *keys]
        for row in np.flatnonzero(episode.asked & np.isin(faces.group, keys)):
            hits[faces.group[row]].append(names[int(np.argmax(every @ points[row]))] == faces.group[row])
    rows = dfad.enrolment(run, (1,), classifiers=("knn",), resamples=0).rows
    assert rows[1]["new"] == pytest.approx(np.mean([np.mean(each) for each in hits.values()]))


def test_faces_of_a_generator_that_is_real_are_named_so_often(run: Path) -> None:
    """Enrolling real faces as a generator: others of the same set come out as it, since they lie where it does."""
    one, ten = (
        row["false_enrolment"] for row in dfad.enrolment(run, (1, 10), classifiers=("prototype",), resamples=0).rows[1:]
    )
    assert 0 < one < ten


@pytest.mark.heavy
def test_the_figures_hold_the_curves_of_the_tables(run: Path, tmp_path: Path) -> None:
    for name in ("risk", "enrolment"):
        shots = (1, 5) if name == "enrolment" else ()
        paths = [tmp_path / f"{name}-{number}.svg" for number in (0, 1)]
        for path in paths:
            draw_open_world([run], path, shots)
        assert paths[0].read_text(encoding="utf-8").count("<path") > 10
        assert len({path.read_bytes() for path in paths}) == 1
    given = ["scores", "--run", str(run), "--table", "risk", "--figure", str(tmp_path / "r.png"), "--json"]
    assert CliRunner().invoke(command, given).exit_code == 0
    assert (tmp_path / "r.png").stat().st_size > 10_000


def test_few_sources_and_odd_numbers_are_said(run: Path, tmp_path: Path) -> None:
    (row,) = dfad.enrolment(run, (20,), resamples=0).rows
    assert row["remark"] == "not defined: no unseen generator has as many sources"
    for shots in ((), (0,), (5000,)):
        with pytest.raises(ConfigError, match="numbers of faces must be 1 to 1000"):
            dfad.enrolment(run, shots, resamples=0)
    write_open_run(tmp_path / "old", PROTOCOL, kept=False)
    with pytest.raises(ConfigError, match="not there, and enrolment needs it"):
        dfad.enrolment(tmp_path / "old", (1,), resamples=0)
    result = CliRunner().invoke(command, ["scores", "--run", str(run), "--enrol", "1", "--format", "csv"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("model,classifier,shots,generators,new,new_faces_low")
