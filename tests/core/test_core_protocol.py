"""Protocols: labels, groups, thresholds, and a hash of what decides a number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.protocol import (
    AttributionRule,
    Group,
    Protocol,
    earlier_protocol_names,
    load_protocol,
    protocol_names,
)
from dfad_bench.core.taxonomy import taxonomy

REAL = Group("real", "celeba_hq", label=0)
SWAP = Group("simswap", "df40", label=1)
DIT = Group("dit", "df40")
TOY = Protocol("toy", 1, "Toy", seen=(SWAP, REAL), unseen=(Group("real", "ffhq"),))


def test_groups_stand_in_label_order() -> None:
    assert [group.key for group in TOY.groups] == ["celeba_hq/real", "df40/simswap", "ffhq/real"]
    assert TOY.num_generators == 2
    assert TOY.groups[1].taxon.display == "SimSwap"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seen": (REAL, replace(SWAP, label=2))}, r"seen labels must be 0 to 1, each once; got \[0, 2\]"),
        ({"seen": (REAL, replace(SWAP, label=0))}, r"got \[0, 0\]"),
        ({"seen": (REAL, replace(SWAP, label=-1))}, r"got \[-1, 0\]"),
        ({"unseen": (Group("dit", "df40", label=1),)}, r"unseen groups carry no label: \['df40/dit'\]"),
        ({"unseen": (Group("simswap", "df40"),)}, r"groups listed twice: \['df40/simswap'\]"),
        ({"test_share": 1.0}, r"shares must lie in \[0, 1\), got 1.0"),
        ({"validation_share": -0.1}, r"shares must lie in"),
        ({"test_per_group": 0}, "1 or more, got 0"),
        ({"train_per_group": -3}, "1 or more, got -3"),
        ({"image_size": 0}, "1 or more, got 0"),
        ({"unseen": (Group("real", "ffhq", test=0),)}, "1 or more, got 0"),
        ({"unlabelled_share": 1.0}, r"shares must lie in \[0, 1\), got 1.0"),
        ({"unlabelled_per_group": 5}, "unlabelled_per_group counts the faces of unlabelled groups, and none is listed"),
        ({"unlabelled": (DIT,), "unlabelled_per_group": 0}, "1 or more, got 0"),
        ({"unlabelled": (replace(DIT, label=1),)}, r"unlabelled groups carry no label: \['df40/dit'\]"),
        ({"unlabelled": (replace(DIT, test=5),)}, r"carry no test count: \['df40/dit'\]"),
        ({"unlabelled": (DIT, DIT)}, r"unlabelled groups listed twice: \['df40/dit'\]"),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TOY, **change)  # type: ignore[arg-type]


def test_thresholds() -> None:
    with pytest.raises(ValueError, match="headline 0.8 is not among"):
        AttributionRule(headline=0.8)
    with pytest.raises(ValueError, match="between 0 and 1"):
        AttributionRule(thresholds=(0.9, 1.0))


def test_hash_leaves_out_words_and_sees_everything_else() -> None:
    words = replace(TOY, title="Other", paper="x", notes=("n",), changes=("c",))
    assert words.sha256 == TOY.sha256
    others = [
        replace(TOY, version=2),
        replace(TOY, seed=1),
        replace(TOY, image_size=224),
        replace(TOY, test_per_group=5),
        replace(TOY, attribution=AttributionRule(thresholds=(0.7, 0.9))),
        replace(TOY, unseen=(Group("real", "ffhq", in_average=False),)),
        replace(TOY, seen=(replace(SWAP, label=0), replace(REAL, label=1))),
        replace(TOY, unlabelled_share=0.3),
        replace(TOY, unlabelled=(DIT,)),
        replace(TOY, unlabelled=(DIT,), unlabelled_per_group=5),
    ]
    assert len({p.sha256 for p in (TOY, *others)}) == len(others) + 1


def test_hash_of_protocols_without_unlabelled_faces_is_what_it_was_before_there_were_any() -> None:
    """Records of earlier releases name these hashes."""
    known = {
        "bmrl-1": "e4c82911ec0f1a943738048b4056a056688793468ad18e36458cdf46182d18f6",
        "bmrl-robustness": "1d732c5c248855805b404645c9b5421f5757e26f64d18b3636f78cab89de37ab",
        "gazeclip-df40": "8dfe549dc4ea94122b9ea8283c375c4daeb604291abb1d94548d583f19fb14f8",
        "synthetic@1": "c447af7e2f236e62b6e79c0230daf0cd9a7362654c52a4d606bbcb69a2273ca2",
    }
    assert {name: load_protocol(name).sha256 for name in known} == known


def test_a_group_may_be_tested_and_unlabelled() -> None:
    both = replace(TOY, unseen=(DIT,), unlabelled=(DIT, Group("real", "ffhq")))
    assert [group.key for group in both.groups] == ["celeba_hq/real", "df40/simswap", "df40/dit"]
    assert [group.key for group in both.all_groups[3:]] == ["df40/dit", "ffhq/real"]
    assert both.has_unlabelled
    assert replace(TOY, unlabelled_share=0.3).has_unlabelled
    assert not TOY.has_unlabelled


OWN = "name: mine\nversion: 1\ntitle: Mine\nseen: [{label: 0, generator: real, dataset: mine}]\n"


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN, encoding="utf-8")
    assert load_protocol(str(path)).groups[0].key == "mine/real"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.replace("real", "reel"), "generator 'reel' is not in the taxonomy"),
        (OWN.replace("name: mine", "name: other"), "name 'other' must equal the file's name"),
        (OWN.replace("label: 0", "label: 1"), r"mine\.yaml: seen labels must be 0 to 0"),
        (OWN + "unlabelled: [{generator: reel, dataset: mine}]\n", "generator 'reel' is not in the taxonomy"),
        (OWN + "treshold: 0.9\n", "unknown key 'treshold'"),
        (OWN + "on_short: ignore\n", "on_short must be one of error, warn"),
    ],
)
def test_bad_own_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_protocol(str(path))


def test_an_earlier_version_is_found_by_its_number_and_the_newest_without() -> None:
    earlier, newest = load_protocol("synthetic@1"), load_protocol("synthetic")
    assert (earlier.name, earlier.version, newest.version) == ("synthetic", 1, 2)
    assert set(earlier.unseen) < set(newest.unseen)
    assert earlier.seen == newest.seen
    assert earlier_protocol_names() == ["gazeclip-wild@1", "synthetic@1"]
    with pytest.raises(UnknownNameError, match="no protocol named 'synthetic@7'. Did you mean synthetic@1"):
        load_protocol("synthetic@7")


def test_every_version_that_a_protocol_lists_is_shipped() -> None:
    """Runs of an earlier version stay recognisable as runs of a shipped protocol."""
    for name in protocol_names():
        versions = {
            load_protocol(key).version for key in (name, *earlier_protocol_names()) if key.partition("@")[0] == name
        }
        assert versions == set(range(1, load_protocol(name).version + 1)), name


def test_unknown_protocol_offers_the_nearest() -> None:
    assert "gazeclip-df40" in protocol_names()
    with pytest.raises(UnknownNameError, match="no protocol named 'gazeclip-df4'. Did you mean gazeclip-df40"):
        load_protocol("gazeclip-df4")
    with pytest.raises(ConfigError, match=r"nowhere/x\.yaml: no such file"):
        load_protocol("nowhere/x.yaml")


@pytest.mark.parametrize("name", ["StyleGAN2", "FLUX.1", "Real"])
def test_a_generator_of_another_name_than_its_key_is_refused_with_the_key(tmp_path: Path, name: str):
    (tmp_path / "mine.yaml").write_text(
        'name: mine\nversion: 1\ntitle: Mine\nchanges: ["1: first version"]\nimage_size: 64\n'
        "seen: [{generator: real, dataset: ffhq, label: 0}, {generator: simswap, dataset: df40, label: 1}]\n"
        f"unseen: [{{generator: {name}, dataset: hf_parquet}}]\n"
    )
    with pytest.raises(ConfigError, match=f"write the generator's key '{taxonomy()[name].key}', not '{name}'"):
        load_protocol(str(tmp_path / "mine.yaml"))
