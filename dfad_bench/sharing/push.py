"""A run as a folder for a repository: its files, its card, its list of hashes; nothing of the author's machine.

The folder is a run folder still: `--run FOLDER` opens it, and `dfad verify-record` checks it.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.files import check_hash, read_json, sha256_file, write_json, write_text
from dfad_bench.core.private_paths import without_paths
from dfad_bench.core.record import ResultRecord, plain, read_record, seal, write_record
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder, not_a_run
from dfad_bench.core.strict import read_yaml, yaml_text
from dfad_bench.core.version import __version__
from dfad_bench.sharing.model_card import CardFacts, model_card
from dfad_bench.sharing.private_text import private_parts, table_texts
from dfad_bench.sharing.run_files import (
    CARD,
    FORM,
    OF_RUN,
    POINTS,
    SHARED,
    Shared,
    check_sizes,
    listed_files,
    plain_shared,
    read_shared,
)  # fmt: skip

ConfigHash = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class SharedRun:
    """A folder that was written, and what a reader must know of it."""

    folder: Path
    shared: Shared
    notes: tuple[str, ...] = ()


def check_run(folder: Path) -> ResultRecord:
    """The record of a run that can be shared: finished, scored, with weights, every file that of its facts.

    Raises:
        ConfigError: not such a run.
        IntegrityError: a file is not the one the run states.
    """
    files = RunFolder(folder)
    for path in (files.facts, files.record, files.config):
        if not path.is_file():
            raise ConfigError(not_a_run(folder, path.name))
    facts, record = read_facts(files.facts), read_record(files.record)
    if record.imported is not None:
        raise ConfigError(f"{folder}: predictions that were made elsewhere; there are no weights to share")
    if not files.checkpoint.weights.is_file():
        raise ConfigError(f"{folder}: has no weights ({files.checkpoint.weights.name}); nothing was learnt")
    stated = {**facts["run"].get("files", {}), record.predictions.path: record.predictions.sha256}
    stated[f"{files.checkpoint.path.name}/{files.checkpoint.weights.name}"] = facts["model"]["checkpoint_sha256"]
    for name in OF_RUN:
        if (folder / name).is_file() and stated.get(name):
            check_hash(folder / name, str(stated[name]))
    return record


def write_shared(
    run: Path, out: Path, facts: CardFacts, *, config_hash: ConfigHash,
    further: Sequence[Callable[[Path], None]] = (),
) -> SharedRun:  # fmt: skip
    """Write the folder of a run that was checked by `check_run`; whole or not at all.

    Args:
        run: the run's folder.
        out: new, empty, or a shared run that is replaced.
        facts: what the card says beside the record; `changed` and `files` are filled in here.
        config_hash: the hash of settings, where a path had to be cut out of them.
        further: write further files of the list into the folder they are given.

    Raises:
        ConfigError: `out` holds something else, or a file tells of this machine and cannot be changed.
    """
    _check_out(out)
    with _new_folder(out) as folder:
        record, changed = _copied(run, folder, config_hash)
        write_json(folder / POINTS, {"form": FORM, "detection": [dict(point) for point in facts.points]})
        for write in further:
            write(folder)
        _check_private(folder)
        names = sorted({*listed_files(folder), CARD})
        write_text(folder / CARD, model_card(record, replace(facts, changed=changed, files=names)))
        licences = {line.what: line.licence for line in facts.licences}
        shared = Shared(
            FORM, f"dfad_bench {__version__}", record.model.name, record.record_id, listed_files(folder), changed,
            licences,
        )  # fmt: skip
        check_sizes({name: file.size for name, file in shared.files.items()})
        write_json(folder / SHARED, plain_shared(shared))
    return SharedRun(out, shared)


def _copied(run: Path, folder: Path, config_hash: ConfigHash) -> tuple[ResultRecord, tuple[str, ...]]:
    """The run's files in the new folder, with paths of this machine cut; the record there, and where paths were cut."""
    for name in OF_RUN:
        if (run / name).is_symlink():
            raise ConfigError(f"{run / name}: is a link; shared runs are made of files")
        if (run / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, folder / name)
    files = RunFolder(folder)
    config, in_config = without_paths(read_yaml(files.config))
    facts, in_facts = without_paths(read_json(files.facts))
    record, in_record = without_paths(plain(read_record(files.record)))
    if in_config:
        write_text(files.config, yaml_text(config))
        new = {"config_sha256": config_hash(config), "run_id": config_hash(config)[:16]}
        for part in (facts["run"], record["run"]):
            part |= new
            if files.config.name in part.get("files", {}):
                part["files"] = {**part["files"], files.config.name: sha256_file(files.config)}
    if in_config or in_facts:
        write_json(files.facts, facts)
    if in_config or in_record:
        write_record(files.record, seal({key: value for key, value in record.items() if key != "record_id"}))
    places = {f"{name}: {place}" for name, found in
              ((files.config.name, in_config), (files.facts.name, in_facts), (files.record.name, in_record))
              for place in found}  # fmt: skip
    return read_record(files.record), tuple(sorted(places))


def _check_private(folder: Path) -> None:
    """Refuse a folder in which something of this machine still stands."""
    found: list[str] = []
    for name in listed_files(folder):
        path = folder / name
        if path.suffix == ".parquet":
            found += private_parts(table_texts(path))
        elif path.suffix in (".json", ".yaml"):
            value = read_yaml(path) if path.suffix == ".yaml" else read_json(path)
            found += private_parts((name, text) for text in _texts(value))
    if found:
        raise ConfigError(
            f"{listed(dict.fromkeys(found), 4)}: a path or a name of this machine stands there, and these files cannot"
            " be changed without making the run's hashes wrong; build the manifests with names below --root"
        )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _check_out(out: Path) -> None:
    """Only a folder that holds nothing, or a shared run, is written to."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"{out}: is no folder; use another --out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        shared = read_shared(out)
    except ConfigError:
        shared = None
    if shared is None:
        raise ConfigError(f"{out}: holds other files and no shared run; use another --out")


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when the block ends without an error.

    Raises:
        ConfigError: the place cannot be written.
    """
    made = out.with_name(f".{out.name}.{secrets.token_hex(4)}.new")
    old = out.with_name(f".{out.name}.{secrets.token_hex(4)}.old")
    try:
        made.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror}); use another --out") from error
    try:
        yield made
        if out.is_dir():
            out.replace(old)
        made.replace(out)
    except OSError as error:
        if old.is_dir() and not out.exists():
            old.replace(out)
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error}); use another --out") from error
    finally:
        for folder in (made, old):
            shutil.rmtree(folder, ignore_errors=True)
