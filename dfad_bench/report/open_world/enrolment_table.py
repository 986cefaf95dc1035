"""How many faces does a new generator take? The curve over shots, beside what it costs the seen ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.labels import REAL
from dfad_bench.metrics.enrolment import Episode, drawn_episodes
from dfad_bench.metrics.enrolment_neighbours import MOST_NEIGHBOURS
from dfad_bench.metrics.interval import stratified_wilson
from dfad_bench.metrics.over_generators import spread_over_generators, too_few_generators
from dfad_bench.metrics.spread import interval, spread
from dfad_bench.report.open_world.namer import CLASSIFIERS, Classifier, Namer
from dfad_bench.report.open_world.run_arrays import UNTRAINED, RunArrays
from dfad_bench.report.scored_faces import Faces
from dfad_bench.report.table import Column, Table

EPISODES = 100
MOST_SHOTS = 1000
ABOUT = (
    "New generators are enrolled from so many faces, each of another source, without training. prototype: their mean in"
    " embedding space, beside the means of the seen classes (training faces). knn: most of the k nearest faces,"
    f" enrolled or of training, k as many as faces are enrolled, at most {MOST_NEIGHBOURS}. Means over {EPISODES}"
    " draws, the same for every model and both; faces of enrolled sources are asked nothing.",
    "New right: mean over new generators, named among seen and new classes. Among new: with the new ones alone (chance"
    " in the next column). Taken: seen faces named as a new generator. H: harmonic mean of new and seen right.",
    "95 % faces: over sources of the faces asked. 95 % generators: for other generators of this kind. Luck: standard"
    " deviation over draws, which is no interval: all draws ask the same faces of the same generators.",
    "False enrolment: share of real faces named as a generator that was enrolled from real faces of other sources.",
)
LEFT_OUT = "{}: left out, with fewer than {} sources ({} are enrolled, and one must be left to ask): {}."


def enrolment_table(
    runs: Mapping[str, RunArrays], shots: Sequence[int], classifiers: Sequence[Classifier] = CLASSIFIERS
) -> Table:
    """A row for each number of enrolled faces of each run and way of naming.

    Args:
        runs: by what they are called.
        shots: numbers of faces, each at least 1; 0 is always shown.
        classifiers: ways of naming.

    Raises:
        ConfigError: no such numbers or ways of naming, or a run that kept no embeddings.
    """
    asked = sorted({0, *shots})
    if not shots or min(shots) < 1 or max(shots) > MOST_SHOTS:
        raise ConfigError(f"enrol: numbers of faces must be 1 to {MOST_SHOTS}, got {list(shots)}")
    if unknown := [name for name in classifiers if name not in CLASSIFIERS]:
        raise ConfigError(f"enrol: no classifier {quoted(unknown[0])}; one of {', '.join(CLASSIFIERS)}")
    rows: list[dict[str, Any]] = []
    notes = list(ABOUT)
    for label, run in runs.items():
        if run.record.model.heads == "detection":
            rows.append({"model": label, "remark": f"not defined: {UNTRAINED}"})
            continue
        usable = [key for key in run.test.averaged if _sources(run.test, key) > max(shots)]
        forged = [key for key in run.test.averaged if run.test.detection_label_of[key] != REAL]
        if few := [key for key in forged if key not in usable]:
            notes.append(LEFT_OUT.format(label, max(shots) + 1, max(shots), listed(few)))
        new = [key for key in forged if key in usable]
        if not new:
            rows.append({"model": label, "remark": "not defined: no unseen generator has as many sources"})
            continue
        rows += [
            {"model": label, "classifier": name, "shots": k, **_cells(run, Namer(run, name), new, k)}
            for name in dict.fromkeys(classifiers) for k in asked
        ]  # fmt: skip
    return Table("Enrolment of unseen generators", _columns(), rows, tuple(notes), names=3)


def _columns() -> tuple[Column, ...]:
    columns = [Column("model", "Model", "text"), Column("classifier", "Named by", "text")]
    columns.append(Column("shots", "Faces", "count"))
    columns += [Column("generators", "New generators", "count"), Column("new", "New right", "percent")]
    for key, title in (("faces", "95 % faces"), ("generators", "95 % generators")):
        columns += [Column(f"new_{key}_low", f"{title} from", "percent"), Column(f"new_{key}_high", "to", "percent")]
    columns += [Column("luck", "Luck", "percent"), Column("among_new", "Among new", "percent")]
    columns += [Column("chance", "chance", "percent"), Column("seen", "Seen right", "percent")]
    columns += [Column("seen_low", "from", "percent"), Column("seen_high", "to", "percent")]
    columns += [Column("taken", "Taken", "percent"), Column("harmonic", "H", "percent")]
    columns += [Column("false_enrolment", "False enrolment", "percent"), Column("remark", "Remark", "text")]
    return tuple(columns)


def _sources(faces: Faces, key: str) -> int:
    return len(set(faces.source[faces.of([key])]))


def _cells(run: RunArrays, namer: Namer, new: Sequence[str], shots: int) -> dict[str, Any]:
    faces = run.test
    episodes = list(namer.episodes(new, shots, _draws(faces, new, shots)))
    rightly = np.stack([one.rightly for one in episodes])  # (episodes, n)
    # NumPy warns where a row was asked in no episode, or no generator was enrolled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(rightly, axis=0)
        by_episode = [np.mean([np.nanmean(one[faces.of([key])]) for key in new]) for one in rightly]
        among = np.mean([np.nanmean(np.stack([e.among_new[faces.of([key])] for e in episodes])) for key in new])
        taken = np.mean([np.nanmean(np.stack([e.as_new[faces.of([key])] for e in episodes])) for key in faces.seen])
        each = {key: float(np.nanmean(rightly[:, faces.of([key])])) for key in (*new, *faces.seen)}
    new_right = float(np.mean([each[key] for key in new]))
    seen_right = float(np.mean([each[key] for key in faces.seen])) if faces.seen else None
    cells: dict[str, Any] = {"generators": len(new), "new": new_right, "seen": seen_right, "taken": float(taken)}
    cells |= {"luck": float(np.std(by_episode, ddof=1)) if shots else None, "chance": 1 / len(new) if shots else None}
    cells |= {"among_new": float(among) if shots else None, "false_enrolment": _false_enrolment(run, namer, shots)}
    total = new_right + (seen_right or 0.0)
    cells["harmonic"] = 2 * new_right * (seen_right or 0.0) / total if total else 0.0
    if shots:
        cells |= _faces_interval(faces, mean, new, new_right, "new_faces")
        cells |= _generators_interval([each[key] for key in new], new_right)
        cells["remark"] = too_few_generators(len(new)) or ""
    return cells | (_faces_interval(faces, mean, faces.seen, seen_right, "seen") if seen_right is not None else {})


def _draws(faces: Faces, new: Sequence[str], shots: int) -> Iterator[Episode]:
    """The draws of enrolled faces; one is enough where nothing is enrolled."""
    if not shots:
        return iter([Episode({}, np.ones(len(faces.label), dtype=bool))])
    return drawn_episodes(faces.group, faces.source, new, shots, EPISODES, episode_seed(faces))


def _false_enrolment(run: RunArrays, namer: Namer, shots: int) -> float | None:
    """Real faces named as a generator that was enrolled from real faces, mean over real groups with enough sources."""
    faces = run.test
    reals = [key for key in (*faces.seen, *faces.unseen) if faces.detection_label_of[key] == REAL]
    reals = [key for key in reals if _sources(faces, key) > shots]
    if not shots or not reals:
        return None
    shares = []
    for key in reals:
        rows = faces.of([key])
        shares += [
            float(np.nanmean(one.as_new[rows])) for one in namer.episodes([key], shots, _draws(faces, [key], shots))
        ]
    return float(np.mean(shares))


def episode_seed(faces: Faces) -> int:
    """The seed of the draws: of the protocol, so that every model meets the same."""
    return int(faces.protocol.sha256[:12], 16)


def _faces_interval(
    faces: Faces, mean: np.ndarray, keys: Sequence[str], value: float, name: str
) -> dict[str, float | None]:
    """The interval over sources of a mean over groups of expected hits (n,) of the faces that were ever asked."""
    rows = faces.of(keys) & ~np.isnan(mean)
    bootstrap = faces.bootstrap(rows)
    of = spread(bootstrap.macro_share_draws(mean[rows]), bootstrap) if faces.resamples else None
    between = None if of is None else interval(value, of, (0.0, 1.0))
    if faces.resamples and between is None and np.isin(mean[rows], (0, 1)).all():  # no draw differs
        between = stratified_wilson(mean[rows] == 1, faces.group[rows], faces.source[rows], macro=True)
    low, high = between or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _generators_interval(values: Sequence[float], value: float) -> dict[str, float | None]:
    """The interval over generators of their mean; none for too few."""
    of = spread_over_generators(values)
    low, high = (None, None) if of is None else interval(value, of, (0.0, 1.0))
    return {"new_generators_low": low, "new_generators_high": high}
