"""Skeletons of additions: commented files that pass their check before a line of them is changed."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from dfad_bench.core.errors import ConfigError, UnknownNameError, quoted
from dfad_bench.core.files import write_text
from dfad_bench.core.registry import model_table
from dfad_bench.core.resources import yaml_files
from dfad_bench.core.taxonomy import taxonomy

_TEMPLATES = Path(__file__).parent / "skeletons"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 60  # a name becomes a part of longer names of files
_RESERVED = ("false", "no", "none", "null", "off", "on", "true", "yes")  # not text in YAML, or no class of Python


def new_skeleton(kind: str, name: str, out: Path | str | None = None) -> list[Path]:
    """Write commented files of a model, a dataset or a protocol of one's own that pass their check unchanged.

    Args:
        kind: "model" (a distribution to install, found by its entry point), "dataset" or "protocol" (files of a folder
            for `--include`).
        name: lower-case letters, digits and `_`.
        out: the folder; default `name` here. Nothing in it is overwritten.

    Returns:
        The files written.

    Raises:
        UnknownNameError: no such kind.
        ConfigError: a bad or taken name, or a file that is there already.
    """
    if kind not in KINDS:
        raise UnknownNameError("skeleton", kind, KINDS)
    return KINDS[kind](name, None if out is None else Path(out))


def new_model(name: str, out: Path | None = None) -> list[Path]:
    """Write an installable distribution with one model that passes `dfad check-model NAME`.

    Args:
        name: lower-case letters, digits and `_`; what the model is registered as.
        out: its folder; default `name` here.

    Returns:
        The files written.

    Raises:
        ConfigError: a bad or taken name, or a file that is there already.
    """
    _check_name("model", name, model_table())
    package = f"dfad_{name}"
    if find_spec(package) is not None:
        raise ConfigError(f"model {quoted(name)}: a package {package!r} is installed already; choose another name")
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "model_README.md",
        f"{package}/__init__.py": "init.py",
        f"{package}/model.py": "model.py",
        f"tests/test_{name}.py": "test_model.py",
    }
    return _write(out or Path(name), files, name)


def new_dataset(name: str, out: Path | None = None) -> list[Path]:
    """Write a folder for `--include` with one dataset and one generator that is found in it.

    Args:
        name: lower-case letters, digits and `_`.
        out: the folder; default `name` here.

    Returns:
        The files written.

    Raises:
        ConfigError: a bad or taken name, or a file that is there already.
    """
    _check_name("dataset", name, yaml_files("manifests", "datasets"))
    example = f"{name}_example"
    if example in taxonomy():
        file = taxonomy().file_of(taxonomy()[example].key)
        raise ConfigError(f"dataset {quoted(name)}: its example would be generator {example!r}, a name taken by {file}")
    files = {"taxonomy.yaml": "taxonomy.yaml", f"datasets/{name}.yaml": "dataset.yaml"}
    return _write(out or Path(name), files, name)


def new_protocol(name: str, out: Path | None = None) -> list[Path]:
    """Write `protocols/NAME.yaml` in a folder for `--include`; its groups are synthetic ones, to be replaced.

    Args:
        name: lower-case letters, digits and `_`.
        out: the folder, perhaps one that is there already; default `name` here.

    Returns:
        The files written.

    Raises:
        ConfigError: a bad or taken name, or a file that is there already.
    """
    _check_name("protocol", name, yaml_files("manifests", "protocols"))
    return _write(out or Path(name), {f"protocols/{name}.yaml": "protocol.yaml"}, name)


KINDS: dict[str, Callable[[str, Path | None], list[Path]]] = {
    "model": new_model, "dataset": new_dataset, "protocol": new_protocol,
}  # fmt: skip


def _check_name(kind: str, name: str, known: Mapping[str, object]) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        form = "lower-case letters and digits, with '_' between them"
        raise ConfigError(f"{kind} {quoted(name[:_LONGEST])}: a name is of {form}, at most {_LONGEST} in all")
    if keyword.iskeyword(name) or name in _RESERVED:
        raise ConfigError(f"{kind} {quoted(name)}: a word of Python or YAML; choose another name")
    if name in known:
        raise ConfigError(f"{kind} {quoted(name)}: the name is taken by {known[name]}; choose another")


def _write(out: Path, files: Mapping[str, str], name: str) -> list[Path]:
    """Fill templates in and write them; `files` maps paths in `out` to templates. Nothing is overwritten."""
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: a file; give a folder with --out")
    if there := [out / path for path in files if (out / path).exists()]:
        raise ConfigError(f"{there[0]}: there already, and never overwritten; give another --out")
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "class": "".join(part.capitalize() for part in name.split("_")),
        "package": f"dfad_{name}",
        "year": str(datetime.now(UTC).year),
    }
    for path, template in files.items():
        text = (_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
        try:
            write_text(out / path, re.sub(r"\[\[(\w+)\]\]", lambda match: words[match[1]], text))
        except OSError as error:
            raise ConfigError(f"{out / path}: cannot be written ({error.strerror}); give another --out") from error
    return [out / path for path in files]
