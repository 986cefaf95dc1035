from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfad_bench.data import reference
from dfad_bench.data.reference import features, has_facts, predict_from_facts


def facts(width: list[float | None], kind: list[str | None]) -> pd.DataFrame:
    names = [f"face{n:03d}" for n in range(len(width))]
    return pd.DataFrame({"width": pd.Series(width, dtype=float), "kind": pd.Series(kind, dtype=object)}).set_axis(names)


def test_what_is_missing_is_an_indicator_and_never_a_zero() -> None:
    train = facts([10, 20, 30, None], ["PNG", "JPEG", "PNG", None])
    found = features(train, facts([None, 40], ["WEBP", None]))
    # width (median 20), width missing, JPEG, PNG, format missing
    assert found.tolist() == [[20, 1, 0, 0, 0], [40, 0, 0, 0, 1]]


def test_a_number_that_no_training_face_has_is_left_out() -> None:
    train = facts([None, None], ["PNG", "JPEG"])
    assert features(train, facts([5, 6], ["PNG", "PNG"])).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert has_facts(facts([None, 1], [None, None])).tolist() == [False, True]


def test_facts_that_tell_the_classes_apart_do_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    told = facts(list(100.0 * labels + rng.integers(0, 9, 90)), ["PNG"] * 90)
    found = predict_from_facts(told, labels, (labels > 0).astype(int), told, 4)
    assert (found.attribution.argmax(axis=1) == labels).mean() > 0.98
    assert ((found.fake > 0.5) == (labels > 0)).all()
    assert (found.attribution[:, 3] == 0).all()  # no training face is of the last class
    alike = facts([100.0] * 90, ["PNG"] * 90)
    even = predict_from_facts(alike, labels, (labels > 0).astype(int), alike, 3)
    assert np.ptp(even.attribution, axis=0).max() == 0


@pytest.mark.heavy
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(24)))
def test_the_answer_does_not_depend_on_the_order_of_the_faces(order: list[int]) -> None:
    rng = np.random.default_rng(1)
    train, labels = facts(list(rng.normal(size=24)), ["PNG", "JPEG"] * 12), np.arange(24) % 3
    one = predict_from_facts(train, labels, labels % 2, train, 3)
    other = predict_from_facts(train.iloc[order], labels[order], labels[order] % 2, train, 3)
    assert np.array_equal(one.attribution, other.attribution)
    assert np.array_equal(one.fake, other.fake)
    assert np.allclose(one.attribution.sum(axis=1), 1)


def test_one_class_alone_is_certain() -> None:
    train = facts([1.0, 2.0, 3.0], ["PNG"] * 3)
    found = predict_from_facts(train, np.zeros(3, int), np.ones(3, int), train, 2)
    assert found.attribution.tolist() == [[1, 0]] * 3
    assert found.fake.tolist() == [1] * 3


def test_of_a_large_class_the_same_faces_are_fitted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_MOST_FACES", 5)
    names, labels = pd.Index([f"face{n}" for n in range(12)]), np.array([0] * 9 + [1] * 3)
    kept = reference._sampled_rows(names, labels)
    assert (kept[labels == 0].sum(), kept[labels == 1].sum()) == (5, 3)
    turned = reference._sampled_rows(names[::-1], labels[::-1])
    assert set(names[kept]) == set(names[::-1][turned])
