"""One protocol takes faces of one crop profile, unless it names others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.toy import RECIPE, SEEN, UNSEEN, toy_protocol, toy_rows, toys_registered
from helpers.training import run_evaluation, run_robustness, run_training

from dfad_bench.api.checks import check_manifests
from dfad_bench.core.crop_rules import CropRule
from dfad_bench.core.errors import ConfigError, ProtocolError
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.record import plain
from dfad_bench.data.crop_profiles import refuse_mixed
from dfad_bench.data.manifest import Manifest, write_manifest

FACE = {"name": "face-256-1.3", "version": 2, "sha256": "a" * 64, "size": 256, "detector": "mtcnn"}
RAW = {"name": "raw-256", "version": 1, "sha256": "b" * 64, "size": 256, "detector": "none"}
Make = Callable[..., list[Manifest]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The manifests of the toy protocol: `synthetic` and `synthetic-outdoor` of the given profiles."""
    rows = {"synthetic": toy_rows("synthetic", (*SEEN, *UNSEEN)), "outdoor": toy_rows("synthetic-outdoor", ("real",))}

    def made(inside: dict[str, Any] | None, outside: dict[str, Any] | None) -> list[Manifest]:
        folder, given = tmp_path_factory.mktemp("manifests"), (inside, outside)
        infos: list[dict[str, Any]] = [{} if crop is None else {"crop": crop} for crop in given]
        return [
            write_manifest(folder / name, dataset, some, info=info)
            for (name, some), dataset, info in zip(rows.items(), ("synthetic", "synthetic-outdoor"), infos, strict=True)
        ]

    return made


def rules(*given: CropRule) -> Protocol:
    return toy_protocol(crops=given)


def test_mixed_profiles_are_one_line_with_manifests_profiles_and_what_to_do(make: Make) -> None:
    mixed = make(FACE, RAW)
    with pytest.raises(ProtocolError) as caught:
        refuse_mixed(toy_protocol(), mixed)
    text = str(caught.value)
    for part in (
        "face-256-1.3 version 2",
        "raw-256 version 1",
        *(str(one.folder) for one in mixed),
        "--crop",
        "crops:",
    ):
        assert part in text
    assert "\n" not in text


def test_manifests_of_datasets_that_the_protocol_does_not_name_do_not_count(make: Make) -> None:
    refuse_mixed(toy_protocol(unseen=(toy_protocol().unseen[1],)), make(FACE, RAW))


EDITED = {**FACE, "sha256": "c" * 64, "size": 224}
OLDER = {**FACE, "version": 1, "sha256": "d" * 64}
LATER = {**FACE, "sha256": "e" * 64, "another_setting": 5}  # a toolkit with one setting more, left at its default


@pytest.mark.parametrize(
    ("inside", "outside", "given", "said"),
    [
        (FACE, FACE, (), None),
        (None, None, (), None),
        (FACE, LATER, (), None),
        (FACE, None, (), "no profile stated"),
        (FACE, OLDER, (), "face-256-1.3 version 1"),
        (FACE, EDITED, (), "sha256 cccccccc"),
        (FACE, RAW, (CropRule(("raw-256",), "synthetic-outdoor"),), None),
        (FACE, RAW, (CropRule(("face-256-1.3", "raw-256")),), None),
        (FACE, FACE, (CropRule(("raw-256",), "synthetic-outdoor"),), "synthetic-outdoor cropped by raw-256"),
        (RAW, RAW, (CropRule(("face-256-1.3",)),), "synthetic cropped by face-256-1.3"),
        (FACE, RAW, (CropRule(("raw-256",), "synthetic-outdoor"), CropRule(("face-256-1.3",))), None),
        (FACE, OLDER, (CropRule(("face-256-1.3",)),), "face-256-1.3 version 1"),  # one name, one version
        (FACE, OLDER, (CropRule(("face-256-1.3@1", "face-256-1.3@2")),), None),
        (FACE, FACE, (CropRule(("face-256-1.3@1",)),), "cropped by face-256-1.3@1"),
        (FACE, EDITED, (CropRule(("face-256-1.3@2",)),), "sha256 aaaaaaaa"),
        (FACE, None, (CropRule(("face-256-1.3", "unstated")),), None),
    ],
)
def test_what_is_one_profile_and_what_a_protocol_may_name(
    make: Make, inside: Any, outside: Any, given: tuple[CropRule, ...], said: str | None
) -> None:
    manifests = make(inside, outside)
    if said is None:
        refuse_mixed(rules(*given), manifests)
        return
    with pytest.raises(ProtocolError, match=said):
        refuse_mixed(rules(*given), manifests)


@pytest.mark.parametrize(
    ("crops", "said"),
    [
        ([{"profiles": []}], "each once"),
        ([{"profiles": ["a", "a"]}], "each once"),
        ([{"profiles": ["a@new"]}], "NAME or NAME@VERSION"),
        ([{"profiles": ["a"]}, {"profiles": ["b"]}], "two rules for all datasets"),
        ([{"profiles": ["a"], "dataset": "flowers"}], "'flowers', of which the protocol has no group"),
        ([{"profile": ["a"]}], "unknown key 'profile'; did you mean 'profiles'"),
        ({"synthetic": "a"}, "crops must be a list"),
    ],
)
def test_the_rules_are_read_strictly(tmp_path: Path, crops: object, said: str) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump({**plain(toy_protocol()), "crops": crops}))
    with pytest.raises(ConfigError, match=said):
        load_protocol(str(path))


def test_a_rule_counts_in_the_hash_and_none_leaves_it_as_it_was() -> None:
    plain_hash = toy_protocol().sha256
    assert toy_protocol(crops=()).sha256 == plain_hash
    assert rules(CropRule(("raw-256",))).sha256 != plain_hash


def test_check_manifest_refuses_the_mix(make: Make) -> None:
    mixed = make(FACE, RAW)
    with pytest.raises(ProtocolError, match="crop profiles are mixed"):
        check_manifests([one.folder for one in mixed], toy_protocol())
    assert check_manifests([one.folder for one in mixed]).protocol is None  # without a protocol there is no mix
    check_manifests([one.folder for one in mixed], rules(CropRule(("raw-256",), "synthetic-outdoor")))


@pytest.fixture(scope="module")
def run(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("runs") / "toy"
    with toys_registered():
        run_training("toy", toy_protocol(), make(FACE, FACE), out, recipe=replace(RECIPE, epochs=1), device="cpu")
        yield out


def test_training_refuses_the_mix(make: Make, tmp_path: Path) -> None:
    with toys_registered(), pytest.raises(ProtocolError, match="crop profiles are mixed"):
        run_training("toy", toy_protocol(), make(FACE, RAW), tmp_path / "run", recipe=RECIPE, device="cpu")


def test_an_evaluation_refuses_the_mix_on_clean_and_on_corrupted_faces(make: Make, run: Path) -> None:
    with pytest.raises(ProtocolError, match="crop profiles are mixed"):
        run_evaluation(run, make(FACE, RAW), device="cpu")
    with pytest.raises(ProtocolError, match="crop profiles are mixed"):
        run_robustness(run, make(FACE, RAW), names=("gaussian_noise",), device="cpu")


def test_test_faces_are_cropped_as_training_faces_were_unless_the_protocol_names_another_profile(
    make: Make, run: Path
) -> None:
    other = make(RAW, RAW)
    with pytest.raises(ProtocolError, match=r"learnt from faces cropped by face-256-1\.3 version 2.*raw-256 version 1"):
        run_evaluation(run, other, device="cpu", allow_partial=True)
    named = replace(rules(CropRule(("raw-256",))), name="toy-raw")
    assert run_evaluation(run, other, protocol=named, device="cpu").status == "complete"
