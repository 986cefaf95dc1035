"""Whatever is read from outside either works or ends in one line: hashes say that nothing changed by accident only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import outside
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with outside.made_runs(tmp_path_factory.mktemp("made")) as folder:
        yield folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return outside.one_of_each(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.mark.parametrize("name", outside.READERS)
@given(seeds)
def test_every_reader(sources: Path, name: str, seed: int) -> None:
    outside.change_one(sources, name, seed)


@given(seeds)
def test_published_tables(scratch: Path, seed: int) -> None:
    outside.change_published_table(scratch, scratch, seed)


@given(seeds)
def test_weight_files(scratch: Path, seed: int) -> None:
    outside.change_weights(scratch, scratch, seed)


@pytest.mark.heavy
@given(seeds)
def test_records(made: Path, scratch: Path, seed: int) -> None:
    outside.change_record(made, scratch, seed)


@pytest.mark.heavy
@given(seeds)
def test_facts_of_a_run(made: Path, scratch: Path, seed: int) -> None:
    outside.change_facts(made, scratch, seed)


@pytest.mark.heavy
@given(seeds)
def test_settings_of_a_run(made: Path, scratch: Path, seed: int) -> None:
    outside.change_settings(made, scratch, seed)


@pytest.mark.heavy
@given(seeds)
def test_predictions_and_selections(made: Path, scratch: Path, seed: int) -> None:
    outside.change_tables(made, scratch, seed)


@pytest.mark.heavy
@given(seeds)
def test_checkpoints(made: Path, scratch: Path, seed: int) -> None:
    outside.change_checkpoint(made, scratch, seed)


@pytest.mark.heavy
@given(seeds)
def test_robustness(made: Path, scratch: Path, seed: int) -> None:
    outside.change_robustness(made, scratch, seed)
