"""Reading YAML that is data: no code, no aliases, bounded size, every key known and of its type."""

from __future__ import annotations

import functools
import math
import re
import types
import typing
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from dfad_bench.core.bounds import WHOLE
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.plain import check_plain

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 40
# what PyYAML raises; the last three on tags such as `!!int` before text that is none
_BAD_YAML = (yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)

T = TypeVar("T")


class StrictRules(Composer, SafeConstructor, Resolver):
    """What loaders here have in common: aliases (expansion bombs), deep nesting and duplicate keys are refused.

    Numbers are those of YAML 1.2: `1e-4` is one; `12:30`, `0x1F`, `007` and `.nan` are text.
    """

    depth = 0
    check_event: Any  # of the parser

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, if it is no alias and not too deep."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise yaml.YAMLError(f"nested deeper than {_MAX_DEPTH}")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping, if no key stands in it twice."""
        mapping = super().construct_mapping(node, deep)
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            twice = sorted({str(key) for key in keys if keys.count(key) > 1})
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: duplicate keys {twice}")
        return mapping


class _StrictLoader(StrictRules, yaml.SafeLoader):
    """The loader of all YAML that others may have written."""


class _StrictDumper(yaml.SafeDumper):
    """SafeDumper that quotes what YAML 1.1 or 1.2 does not take for text, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Text with control characters or line separators in double quotes, the one style that escapes them."""
        style = '"' if _UNSAFE.search(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


# PyYAML writes these into plain and single-quoted text as they are, and its reader folds or refuses them
_SCALARS = (str, int, float, bool)
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_StrictDumper.add_representer(str, _StrictDumper.represent_str)


def _number_rules() -> None:
    """Replace YAML 1.1's numbers, whose base-60 form also takes quadratic time; the writer knows both kinds."""
    old = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
    StrictRules.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag not in old]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    whole = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$")
    real = re.compile(r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$")
    for kind in (StrictRules, _StrictDumper):
        kind.add_implicit_resolver("tag:yaml.org,2002:int", whole, list("-+0123456789"))
        kind.add_implicit_resolver("tag:yaml.org,2002:float", real, list("-+.0123456789"))


_number_rules()


def read_yaml(path: Path, *, unicode_only: bool = False) -> Any:
    """The plain data of a YAML file; with `unicode_only`, its text can be stored and printed anywhere.

    Raises:
        ConfigError: missing, unreadable, above 1 MiB, not YAML, with aliases, tags, duplicate keys or deep nesting.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ConfigError(f"{path}: {size} bytes, more than the {_MAX_BYTES} a settings file may have")
        return deepcopy(_parsed_yaml(path.read_text(encoding="utf-8"), unicode_only))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except OSError as error:  # a folder, or a file that may not be read
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except _BAD_YAML as error:
        text = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path}: not readable as plain YAML ({text})") from error


def parse_yaml(text: str, where: str) -> Any:
    """The content of YAML text of others, as strictly as a file's.

    Raises:
        ConfigError: not YAML, aliases, too deep, or longer than a settings file may be.
    """
    if len(text) > _MAX_BYTES:
        raise ConfigError(f"{where}: more than the {_MAX_BYTES} letters that settings may have")
    try:
        return deepcopy(_parsed_yaml(text, True))
    except _BAD_YAML as error:
        raise ConfigError(f"{where}: not valid YAML ({' '.join(str(error).split())[:160]})") from error


@functools.lru_cache(maxsize=64)  # by content: taxonomy, weights and protocols are read again and again by one command
def _parsed_yaml(text: str, unicode_only: bool) -> Any:
    value = yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    check_plain(value, unicode_only=unicode_only)  # settings of a run may hold paths of any bytes
    return value


def yaml_text(value: Any) -> str:
    """Plain data as YAML that `read_yaml` reads back to an equal value.

    Text that YAML 1.1 or 1.2 takes for a number, a date or a merge key is quoted; control characters are escaped.
    """
    return yaml.dump(value, Dumper=_StrictDumper, sort_keys=True, allow_unicode=True)


def yaml_line(value: Any) -> str:
    """Plain data as YAML on one line.

    >>> yaml_line({"name": "adam", "lr": 0.001, "more": ["1", None]})
    "{lr: 0.001, more: ['1', null], name: adam}"
    """
    text = yaml.dump(value, Dumper=_StrictDumper, allow_unicode=True, default_flow_style=True, width=math.inf)
    return " ".join(text.split()).removesuffix(" ...")


def read_dataclass(cls: type[T], path: Path) -> T:
    """A YAML file as an instance of the dataclass `cls`; unknown, missing or mistyped keys are errors."""
    return from_mapping(cls, read_yaml(path, unicode_only=True), str(path))


@functools.cache  # resolving annotations takes longer than checking values against them
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def from_mapping(cls: type[T], raw: Any, where: str) -> T:
    """`raw` as an instance of the dataclass `cls`, nested dataclasses included.

    `where` is named in errors, usually the file; nested keys are appended (`file: seen[3]: label`).

    Raises:
        ConfigError: names the place, the key and what was expected.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: must be a mapping, got {type(raw).__name__}")
    hints = _hints(typing.cast(Any, cls))
    known = {f.name: f for f in fields(cls) if f.init}  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {quoted(near[0])}?" if near else ""
            raise ConfigError(f"{where}: unknown key {quoted(key)}{hint} Known: {', '.join(sorted(known)) or 'none'}")
    values = {}
    for name, field in known.items():
        if name in raw:
            values[name] = _convert(hints[name], raw[name], f"{where}: {name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}: key {quoted(name)} is missing")
    try:
        return cls(**values)
    except ValueError as error:  # raised by __post_init__ checks
        raise ConfigError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint in _SCALARS:  # most values by far
        return _convert_scalar(hint, value, where)
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{where} must be one of {', '.join(map(str, args))}, got {quoted(value)}")
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a mapping, got {quoted(value)}")
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}[{quoted(k)}]") for k, v in value.items()}
    if is_dataclass(hint):
        return from_mapping(hint, value, where)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _convert_enum(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = _to_float(value, where)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} must be {hint.__name__}, got {quoted(value)}")
    if isinstance(value, int) and abs(value) > WHOLE:
        raise ConfigError(f"{where} must be {WHOLE:,} or less, got a number of {len(str(abs(value)))} digits")
    if hint is float and not math.isfinite(value):
        raise ConfigError(f"{where} must be a finite number, got {quoted(value)}")
    return value


def _to_float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"{where} must be a finite number, got one of {len(str(abs(value)))} digits") from None


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    errors = []
    for arg in args:
        if arg is type(None):
            continue
        try:
            return _convert(arg, value, where)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError(errors[0] if len(errors) == 1 else f"{where}: {quoted(value)} fits none of the allowed types")


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} must be a list, got {quoted(value)}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(args) != len(value):
        raise ConfigError(f"{where} must have {len(args)} entries, got {len(value)}")
    return tuple(_convert(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))


def _convert_enum(hint: type[Enum], value: Any, where: str) -> Enum:
    try:
        return hint(value)
    except ValueError:
        allowed = ", ".join(str(member.value) for member in hint)
        raise ConfigError(f"{where} must be one of {allowed}, got {quoted(value)}") from None
