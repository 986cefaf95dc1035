from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.files import content_hash
from dfad_bench.core.protocol import CorruptionPlan, load_protocol, protocol_names
from dfad_bench.data.corruptions import CORRUPTIONS
from dfad_bench.data.corruptions.spec import choose, corrupt, corruptions

OWN = """version: 1
corruptions:
  haze:
    title: Haze
    values: [0.25]
    meaning: share of white
    paper_exact: false
    source: a test
    operator: brightness
"""


def test_every_operator_has_severities_and_every_severity_an_operator() -> None:
    assert {row.operator or row.name for row in corruptions().values()} == set(CORRUPTIONS)
    plans = [plan for name in protocol_names() if (plan := load_protocol(name).corruptions)]
    in_plans = {name for plan in plans for name in plan.names} | {"defocus_blur", "gamma"}
    assert {len(corruptions()[name].values) for name in in_plans} == {5}  # one that is added may have fewer


def test_names_choose_and_unknown_ones_are_answered() -> None:
    known = corruptions()
    assert [row.name for row in choose(["all"], known)] == list(known)
    assert all(row.paper_exact for row in choose(["exact"], known))
    assert [row.name for row in choose(["blur", "jpeg", "blur"], known)] == ["blur", "jpeg"]
    with pytest.raises(UnknownNameError, match="Did you mean motion_blur"):
        choose(["motionblur"], known)
    with pytest.raises(ConfigError, match="no corruption chosen"):
        choose([], known)


def test_own_file_replaces_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    (haze,) = choose(["all"], corruptions(tmp_path / "own.yaml"))
    assert (haze.name, haze.definition(1)) == ("haze", {"operator": "brightness", "value": 0.25})
    assert corrupt(np.zeros((8, 8, 3), np.uint8), haze, 1, sample_id="a").max() == 63
    with pytest.raises(ConfigError, match="severities 1 to 1, not 2"):
        corrupt(np.zeros((8, 8, 3), np.uint8), haze, 2, sample_id="a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corruptions: {}\n", "must hold"),
        ("version: 1\ncorruptions: []\n", "must map names"),
        (OWN.replace("brightness", "brigthness"), "no operator 'brigthness'"),
        (OWN.replace("[0.25]", "[]"), "values is empty"),
        (OWN.replace("exact: false", "exact: true"), "paper_exact is true, but `compared` does not say"),
        (OWN.replace("title", "tilte"), "unknown key 'tilte'; did you mean 'title'"),
        (OWN.replace("0.25", "strong"), r"values\[0\] must be float"),
    ],
)
def test_a_wrong_file_is_explained(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        corruptions(tmp_path / "own.yaml")


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8)])
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        corrupt(image, corruptions()["blur"], 1, sample_id="a")


def test_a_plan_counts_in_the_hash_of_a_protocol_and_its_absence_does_not() -> None:
    plain = load_protocol("synthetic")
    cosmetic = ("title", "paper", "notes", "changes")
    later = ("corruptions", "unlabelled", "unlabelled_per_group", "unlabelled_share", "crops", "seeds")
    later = (*later, "released", "left_out", "families")
    fields = {k: v for k, v in asdict(plain).items() if k not in (*cosmetic, *later)}
    for group in (*fields["seen"], *fields["unseen"]):
        del group["source"]  # likewise
    assert plain.sha256 == content_hash(fields)
    planned = replace(plain, corruptions=CorruptionPlan(("blur",)))
    assert len({plain.sha256, planned.sha256, replace(plain, corruptions=CorruptionPlan(("jpeg",))).sha256}) == 3


def test_robustness_protocols_name_corruptions_that_exist() -> None:
    plans = {name: load_protocol(name).corruptions for name in protocol_names() if load_protocol(name).corruptions}
    assert set(plans) == {"gazeclip-robustness", "bmrl-robustness"}
    exact = {row.name for row in choose(["exact"], corruptions())}
    assert set(plans["bmrl-robustness"].names) == exact | {"video_compression"}
    assert len(plans["gazeclip-robustness"].names) == 10
    assert exact < set(plans["gazeclip-robustness"].names) <= set(corruptions())
    assert {plan.severities for plan in plans.values()} == {(1, 2, 3, 4, 5)}
    assert load_protocol("bmrl-robustness").groups == load_protocol("bmrl-1").groups
    assert load_protocol("gazeclip-robustness").groups == load_protocol("gazeclip-df40").groups


@pytest.mark.parametrize(
    "plan", [{"names": ()}, {"names": ("blur", "blur")}, {"names": ("blur",), "severities": (0, 1)}]
)
def test_plans_are_checked(plan: dict) -> None:
    with pytest.raises(ValueError, match="corruptions must be|severities must rise"):
        CorruptionPlan(**plan)
