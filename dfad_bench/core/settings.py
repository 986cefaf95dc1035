"""Settings written down once: help, limits and option beside the field; commands and docstrings are made from that.

A settings class is a frozen dataclass whose fields carry an `Option`, under the decorator `documented`:

    @documented
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        '''What it settles.'''

        epochs: int | None = field(default=None, metadata=option("Instead of the recipe's.", least=1))
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dfad_bench.core.bounds import WHOLE
from dfad_bench.core.errors import ConfigError, quoted

T = TypeVar("T", bound=type)
Size = Literal["paper", "tiny"]
Heads = Literal["both", "attribution", "detection"]
Precision = Literal["fp32", "bf16", "fp16"]
AskedPrecision = Literal["auto", "fp32", "bf16", "fp16"]
Cache = Literal["disk", "ram", "gpu", "none"]
_OPTION = "dfad_option"


@dataclass(frozen=True)
class Option:
    """What a command's option and the documentation say of a field.

    `flag` is the option's spelling where it is not the field's name with dashes; None in `flag` hides the field from
    commands. `least`, `above` and `most` bound numbers, and those of a list. `names` is the kind of registered names a
    text is one of.
    """

    help: str
    flag: str | None = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    metavar: str | None = None
    names: str | None = None
    show_default: bool = True


def option(help: str, **more: Any) -> dict[str, Option]:
    """Metadata of a settings field; `more` are fields of `Option`."""
    return {_OPTION: Option(help, **more)}


def option_of(owner: type, name: str) -> tuple[Option, Any, Any]:
    """Option, type and default of a settings field; the default is `dataclasses.MISSING` where one must be given.

    Raises:
        KeyError: no such field, or one that carries no option (a bug).
    """
    found = next(field for field in fields(owner) if field.name == name)
    default = found.default_factory() if found.default_factory is not MISSING else found.default
    return found.metadata[_OPTION], get_type_hints(owner)[name], default


def documented(cls: T) -> T:
    """Append every field with its help to the class's docstring, so that `help(cls)` shows what the command shows."""
    abouts = {field.name: field.metadata[_OPTION] for field in fields(cls) if _OPTION in field.metadata}
    lines = [f"    {name}: {' '.join(about.help.split())}" for name, about in abouts.items()]
    cls.__doc__ = f"{(cls.__doc__ or '').rstrip()}\n\nAttributes:\n" + "\n".join(lines)
    return cls


def check_settings(settings: Any) -> None:
    """Refuse values outside what a field's type and option allow; called by `__post_init__`.

    Lists become tuples, and texts and paths each other, where the field's type asks for it.

    Raises:
        ConfigError: names the field, the value and what is allowed.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        if (about := field.metadata.get(_OPTION)) is not None:
            where = f"{type(settings).__name__}.{field.name}"
            value = _converted(getattr(settings, field.name), hints[field.name])
            object.__setattr__(settings, field.name, value)  # the class is frozen, and the object is being made
            _check_type(where, value, hints[field.name])
            _check_limits(where, value, about)


def _check_type(where: str, value: Any, hint: Any) -> None:
    members, allowed = _members(hint), choices(hint)
    if value is None and type(None) in members:
        return
    if allowed:
        if not any(value == other for other in allowed):
            raise ConfigError(f"{where} must be one of {', '.join(map(str, allowed))}, got {quoted(value)}")
    elif not any(_is_of(value, member) for member in members):
        words = " or ".join(dict.fromkeys(_described(member, value) for member in members if member is not type(None)))
        raise ConfigError(f"{where} must be {words}, got {quoted(value)}")


def _check_limits(where: str, value: Any, about: Option) -> None:
    if isinstance(value, tuple):
        for entry in value:
            _check_limits(where, entry, about)
    if isinstance(value, int | float) and not isinstance(value, bool):
        owner, _, name = where.partition(".")
        got = f"got {quoted(value)}" if abs(value) <= WHOLE else "got a number without end or of very many digits"
        if about.least is not None and not value >= about.least:  # so that NaN is refused, too
            raise ConfigError(f"{owner}: needs {name} >= {about.least:g}, {got}")
        if about.above is not None and not value > about.above:
            raise ConfigError(f"{owner}: needs {name} > {about.above:g}, {got}")
        if about.most is not None and not value <= about.most:
            raise ConfigError(f"{owner}: needs {name} <= {about.most:,}, {got}")


def _converted(value: Any, hint: Any) -> Any:
    """The value as the field keeps it, where another type means the same."""
    kinds = {get_origin(member) or member for member in _members(hint)}
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)  # NumPy's integers
    if isinstance(value, list) and tuple in kinds:
        return tuple(value)
    if isinstance(value, Path) and str in kinds and Path not in kinds:
        return str(value)
    if isinstance(value, str) and Path in kinds and str not in kinds:
        return Path(value)
    return value


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of a type without unions; entries of tuples and mappings are looked at, too."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return True
    if kind in (int, float):
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if not isinstance(value, kind):
        return False
    if kind is tuple:
        expected = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return len(value) == len(expected) and all(map(_is_of, value, expected))
    if isinstance(value, Mapping) and inner:
        return all(_is_of(key, inner[0]) and _is_of(entry, inner[1]) for key, entry in value.items())
    return True


def _described(hint: Any, value: Any) -> str:
    """A type in the words of an error about `value`."""
    kind = get_origin(hint) or hint
    if kind is int and isinstance(value, float):
        return "a whole number"
    words = {int: "a number", float: "a number", str: "text", bool: "true or false", tuple: "a list", Path: "a path"}
    return words.get(kind, "a mapping" if issubclass(kind, Mapping) else f"a {kind.__name__}")


def choices(hint: Any) -> tuple[Any, ...]:
    """The values of a `Literal`, or of `Literal | None`; nothing for other types."""
    literal = next((member for member in _members(hint) if get_origin(member) is Literal), None)
    return () if literal is None else get_args(literal)


def base_type(hint: Any) -> Any:
    """The first type of a union that is not None; the type itself where it is none."""
    return next(member for member in _members(hint) if member is not type(None))


def changed(settings: Any) -> Mapping[str, Any]:
    """The fields that differ from their default, or have none."""
    found = {}
    for field in fields(settings):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        value = getattr(settings, field.name)
        if default is MISSING or value != default:
            found[field.name] = value
    return found


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
