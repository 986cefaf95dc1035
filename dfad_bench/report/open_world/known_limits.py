"""What a run cannot know of a new face, from its own record: whom it learnt, and how it did on faces of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfad_bench.core.errors import listed
from dfad_bench.core.labels import FAKE as FORGED
from dfad_bench.core.labels import REAL as UNTOUCHED
from dfad_bench.report.open_world.face_answers import RunAnswers
from dfad_bench.report.open_world.shares import mean_of_groups, share_of_sources
from dfad_bench.report.scored_faces import Faces

CANNOT_KNOW = (
    "A verdict is what this network was taught to say, not proof: a forgery made otherwise, a strongly edited or"
    " compressed picture, or a person unlike those it saw may get any verdict. real: not called fake, and no more."
)


def limits(answers: RunAnswers, label: str) -> list[str]:
    """Lines about a run: what it learnt from, where it draws its lines, what that came to on its own test faces."""
    run = answers.arrays
    lines = [f"{label}: {_what_it_learnt(answers)}", f"{label}: {_band(answers)}"]
    if (achieved := _achieved_shares(answers, run.test)) is not None:
        lines.append(f"{label}: {achieved}")
    lines.append(f"{label}: {_unseen_rule(answers)}")
    chose = run.own_run[1].run.model_selection != "last"
    if chose and (answers.band is not None or answers.sets is not None):
        lines.append(f"{label}: its validation faces also chose its checkpoint, so what they promise is too good")
    return lines


def _what_it_learnt(answers: RunAnswers) -> str:
    record = answers.arrays.record
    train = record.manifest.splits.get("train")
    faces = "" if train is None else f" on {train.rows:,} faces"
    shown = listed(answers.classes, 20)
    return (
        f"{record.model.display or record.model.name} ({record.model.size}), trained{faces} of {shown}; a face by any"
        " other generator is strange to it"
    )


def _band(answers: RunAnswers) -> str:
    if (band := answers.band) is None:
        return "its detection expert was not trained: no verdict"
    return f"fake above {band.high:.3g}, real up to {band.low:.3g}, unsure between ({band.rule})"


def _achieved_shares(answers: RunAnswers, faces: Faces) -> str | None:
    """What calling faces fake above the band came to on the run's test faces."""
    if answers.band is None:
        return None
    called = faces.p_fake > answers.band.high
    shares = [
        (_share_called(faces, called, faces.seen, FORGED), "of forged faces of generators it learnt"),
        (_share_called(faces, called, faces.unseen, FORGED), "of generators it did not learn"),
        (_share_called(faces, called, faces.seen, UNTOUCHED), "of real faces of the sets it learnt"),
        (_share_called(faces, called, faces.unseen, UNTOUCHED), "of other real faces"),
    ]
    told = [f"{share:.0%} {whose} ({count})" for (share, count), whose in shares if share is not None]
    return f"on its own test faces fake is said of {', '.join(told)}" if told else None


def _share_called(faces: Faces, called: np.ndarray, keys: Sequence[str], label: int) -> tuple[float | None, str]:
    """The share that is called fake in groups of one truth, and of how many independent things."""
    mine = [key for key in keys if faces.detection_label_of[key] == label]
    if not mine:
        return None, ""
    rows = faces.of(mine)
    if label == UNTOUCHED:
        share = share_of_sources(called[rows], faces.source[rows])
        return share.value, f"{faces.sources_of(rows)} sources"
    count = f"{len(mine)} generators, {int(rows.sum()):,} faces"
    return mean_of_groups(faces, called, mine).value, count


def _unseen_rule(answers: RunAnswers) -> str:
    if not answers.attributes:
        return "its attribution expert was not trained: no generator is named"
    if answers.sets is None:
        least = answers.arrays.protocol.attribution.headline
        return (
            f"no p-values ({answers.no_sets}): unseen where the largest probability is below {least:g} (papers' rule)"
        )
    sets, faces = answers.sets, answers.arrays.test
    promise = "unseen where no class is left at 90 %: one in ten faces of seen generators is called so by chance"
    if sets.always:
        promise += f", but none ever is here, as {listed(sets.always, 4)} have too few validation sources"
        return promise
    embedding = None if sets.space is None else answers.arrays.arrays("test").get("embedding")
    if sets.space is not None and embedding is None:
        return promise
    empty = (sets.p_values(faces.probs, embedding) > 0.1 + 1e-12).sum(axis=1) == 0
    caught = mean_of_groups(faces, empty, faces.unseen).value if faces.unseen else None
    return promise if caught is None else (
        f"{promise}; of test faces by {len(faces.unseen)} unseen generators {caught:.0%} were"
    )  # fmt: skip
