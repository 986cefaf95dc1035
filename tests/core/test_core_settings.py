from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import Literal

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
    ],
)
def test_values_outside_are_refused(values: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Settings(name="x", **values)


def test_values_inside_are_taken_and_changes_are_told() -> None:
    assert changed(Settings(name="x")) == {"name": "x"}
    made = Settings(name="x", steps=1, minutes=2, kind="a", size="tiny")
    assert changed(made) == {"name": "x", "steps": 1, "minutes": 2, "kind": "a", "size": "tiny"}
