from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.settings import base_type, changed, check_settings, choices, documented, option, option_of


@documented
@dataclass(frozen=True, kw_only=True)
class Base:
    """A base."""

    size: Literal["paper", "tiny"] = field(default="paper", metadata=option("Width."))


@documented
@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """An example."""

    name: str = field(metadata=option("Whose."))
    steps: int | None = field(default=None, metadata=option("At most.", least=1))
    minutes: float = field(default=1.0, metadata=option("No longer.", above=0, flag=None))
    kind: Literal["a", "b"] | None = field(default=None, metadata=option("Which."))
    names: tuple[str, ...] = field(default=(), metadata=option("Several."))
    pair: tuple[int, int] | None = field(default=None, metadata=option("Two."))
    folder: Path | None = field(default=None, metadata=option("Where."))
    on: bool = field(default=False, metadata=option("Whether."))
    values: Mapping[str, Any] = field(default_factory=dict, metadata=option("Anything by name."))
    extra: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_settings(self)


def test_the_docstring_holds_every_help_once() -> None:
    text = Settings.__doc__ or ""
    assert text.startswith("An example.")
    for line in ("size: Width.", "name: Whose.", "steps: At most.", "minutes: No longer.", "kind: Which."):
        assert text.count(line) == 1
    assert "extra" not in text
    assert "name" not in (Base.__doc__ or "")


def test_fields_say_help_type_and_default() -> None:
    about, hint, default = option_of(Settings, "steps")
    assert (about.help, about.least, base_type(hint), default) == ("At most.", 1, int, None)
    assert option_of(Settings, "name")[2] is MISSING
    assert option_of(Settings, "minutes")[0].flag is None
    assert choices(option_of(Settings, "size")[1]) == ("paper", "tiny")
    assert choices(option_of(Settings, "kind")[1]) == ("a", "b")
    assert choices(option_of(Settings, "steps")[1]) == ()
    with pytest.raises(KeyError):
        option_of(Settings, "extra")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"size": "huge"}, "Settings.size must be one of paper, tiny, got 'huge'"),
        ({"kind": "c"}, "Settings.kind must be one of a, b"),
        ({"steps": 0}, "Settings: needs steps >= 1, got 0"),
        ({"steps": "3"}, "Settings.steps must be a number, got '3'"),
        ({"minutes": 0.0}, "Settings: needs minutes > 0, got 0.0"),
        ({"steps": 1.5}, "Settings.steps must be a whole number, got 1.5"),
        ({"steps": True}, "Settings.steps must be a number, got True"),
        ({"minutes": None}, "Settings.minutes must be a number, got None"),
        ({"name": 3}, "Settings.name must be text, got 3"),
        ({"names": "jpeg"}, "Settings.names must be a list, got 'jpeg'"),
        ({"names": [1]}, "Settings.names must be a list, got"),
        ({"pair": [1, 2, 3]}, "Settings.pair must be a list, got"),
        ({"folder": 3}, "Settings.folder must be a path, got 3"),
        ({"on": "yes"}, "Settings.on must be true or false, got 'yes'"),
        ({"values": "a=1"}, "Settings.values must be a mapping, got 'a=1'"),
    ],
)
def test_values_outside_are_refused(values: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Settings(**{"name": "x", **values})


def test_lists_paths_and_numbers_of_numpy_are_kept_as_the_type_says() -> None:
    made = Settings(name=Path("a.yaml"), names=["b"], pair=[1, 2], folder="c", steps=np.int64(3))  # type: ignore[arg-type]
    assert (made.name, made.names, made.pair, made.folder) == ("a.yaml", ("b",), (1, 2), Path("c"))
    assert type(made.steps) is int
    assert made == Settings(name="a.yaml", names=("b",), pair=(1, 2), folder=Path("c"), steps=3)


def test_values_inside_are_taken_and_changes_are_listed() -> None:
    assert changed(Settings(name="x")) == {"name": "x"}
    made = Settings(name="x", steps=1, minutes=2, kind="a", size="tiny")
    assert changed(made) == {"name": "x", "steps": 1, "minutes": 2, "kind": "a", "size": "tiny"}
