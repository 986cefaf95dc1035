"""The detection numbers of a set of predictions; which faces form which set is said in `report.score`."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.metrics import detection
from dfad_bench.metrics.interval import ECE_BINS, stratified_wilson
from dfad_bench.metrics.paired import auc_covariance
from dfad_bench.report.scored_faces import Faces, Number, number, one_class

_Z95 = 1.959963984540054


def detection_numbers(faces: Faces, *, suffix: str = "") -> list[Number]:
    """Both detection sets, and the area under the curve group by group.

    `suffix` is put behind the names of sets and groups: rows of `faces` may be videos.
    """
    numbers = []
    for subset, keys in (("unseen", faces.unseen), ("seen", faces.seen)):
        fakes = [key for key in keys if faces.kinds[key] == FAKE]
        reals = [key for key in keys if faces.kinds[key] == REAL]
        reals = reals or [key for key in faces.seen if faces.kinds[key] == REAL]
        made = _Set(faces, subset, fakes, reals, suffix)
        numbers += [*made.pooled(), *made.per_group()]
    return numbers


class _Set:
    """Forged groups against real ones."""

    def __init__(self, faces: Faces, subset: str, fakes: list[str], reals: list[str], suffix: str) -> None:
        self.faces, self.subset, self.fakes, self.reals, self.suffix = faces, subset, fakes, reals, suffix
        self.rows = faces.of([*fakes, *reals])
        self.truth, self.p = faces.truth[self.rows], faces.fake[self.rows]
        self.about: dict[str, Any] = {"reals": reals}

    def pooled(self) -> list[Number]:
        """Numbers of all faces of the set together."""
        truth, p, rows, faces = self.truth, self.p, self.rows, self.faces
        called, fake, real = p > 0.5, truth == FAKE, truth == REAL
        two = one_class(truth)
        ranks = faces.ranking(rows, fake, p, only=("auc", "ap", "eer"))
        sources = faces.source[rows]

        def shares(*columns: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
            hits, among = (np.stack(part, axis=1) for part in zip(*columns, strict=True))

            def still() -> tuple[float, float]:
                each = [
                    stratified_wilson(hit[of], faces.group[rows][of], sources[of], macro=False) or (np.nan, np.nan)
                    for hit, of in columns
                ]
                return tuple(np.mean(each, axis=0).tolist())

            return {"draws": lambda: faces.bootstrap(rows).ratios_draws(hits, among), "still": still}

        found, passed = (called & fake, fake), (~called & real, real)
        right = called == fake

        def calibration() -> np.ndarray:
            return faces.bootstrap(rows).ece_draws(truth, p)

        alone = None if len(p) else "no faces"
        return [
            self._number("accuracy", alone, **shares((right, fake | real)), hits=right, sources=sources),
            self._number("balanced_accuracy", two, **shares(found, passed)),
            self._number("tpr", None if fake.any() else "no forged faces", **shares(found)),
            self._number("tnr", None if real.any() else "no real faces", **shares(passed)),
            self._number("auc", two, draws=ranks("auc"), ranked=(fake.astype(int), p), sources=sources),
            self._number("ap", two, draws=ranks("ap")),
            self._number("eer", two, draws=ranks("eer")),
            self._number("ece", alone, {"bins": ECE_BINS}, draws=calibration, biased=True),
        ]

    def per_group(self) -> list[Number]:
        """The area under the curve of each forged group against the same real faces, and the mean of those."""
        faces, numbers = self.faces, []
        for key in self.fakes:
            rows = faces.of([key, *self.reals])
            truth, p, sources = faces.truth[rows], faces.fake[rows], faces.source[rows]
            more = {"closed": (_delong(truth, p, sources), "delong"), "ranked": (truth, p), "sources": sources}
            facts = {**self._facts(truth, [key, *self.reals]), "params": self.about}
            value = detection.auc(truth, p)
            numbers.append(number("detection", "auc", key + self.suffix, value, one_class(truth), facts, **more))
        known = [n.value.value for n in numbers if n.value.value is not None]
        whole = bool(known) and len(known) == len(numbers)
        facts = {**self._facts(self.truth, [*self.fakes, *self.reals]), "averaging": "macro", "params": self.about}
        mean, reason = (float(np.mean(known)), None) if whole else (None, "not defined for every group")
        name = self.subset + self.suffix
        return [*numbers, number("detection", "auc", name, mean, reason, facts, draws=self._mean_draws)]

    def _mean_draws(self) -> np.ndarray:
        """Mean over forged groups of the area under the curve, the real faces drawn once a resample."""
        bootstrap, group = self.faces.bootstrap(self.rows), self.faces.group[self.rows]
        fake, real = self.truth == FAKE, np.isin(group, self.reals)

        def area(key: str) -> np.ndarray:
            return bootstrap.ranking_draws(fake, self.p, among=real | (group == key), only=("auc",))["auc"]

        return np.mean([area(key) for key in self.fakes], axis=0)

    def _number(self, metric: str, reason: str | None, params: dict[str, Any] | None = None, **more: Any) -> Number:
        value = getattr(detection, metric)(self.truth, self.p) if reason is None else None
        facts = self._facts(self.truth, [*self.fakes, *self.reals])
        facts |= {"averaging": "micro", "params": {**self.about, **(params or {})}}
        return number("detection", metric, self.subset + self.suffix, value, reason, facts, **more)

    @staticmethod
    def _facts(truth: np.ndarray, keys: list[str]) -> dict[str, Any]:
        counts = {"n": len(truth), "n_pos": int((truth == FAKE).sum()), "n_neg": int((truth == REAL).sum())}
        return {"members": tuple(keys), **counts}


def _delong(truth: np.ndarray, p: np.ndarray, sources: np.ndarray) -> tuple[float, float] | None:
    """DeLong's interval of one area; None where it has no width, as for perfect and for constant scores."""
    found = auc_covariance(truth, p, sources)
    if found is None or found[1][0, 0] <= 1e-18:
        return None
    area, half = float(found[0][0]), _Z95 * float(np.sqrt(found[1][0, 0]))
    return max(0.0, area - half), min(1.0, area + half)
