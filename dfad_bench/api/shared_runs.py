"""Runs given away: a folder for a repository, with a card, and its upload."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfad_bench.api.run_source import run_path
from dfad_bench.api.runs import Run, folder_of
from dfad_bench.core.errors import ConfigError, DFADError, UnknownNameError, listed
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.registry import model_class
from dfad_bench.core.run_folder import CONFIG
from dfad_bench.core.weights import weight_files
from dfad_bench.sharing.hub_runs import push_run as upload
from dfad_bench.sharing.licences import terms_of
from dfad_bench.sharing.model_card import CardFacts, LicenceLine
from dfad_bench.sharing.places import run_place
from dfad_bench.sharing.push import SharedRun, check_run, write_shared
from dfad_bench.sharing.run_files import ONNX

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class PushedRun:
    """What was written, which licences were weighed, how to upload it, and where it was uploaded to, if it was."""

    folder: Path
    files: Mapping[str, int]  # bytes
    licences: tuple[LicenceLine, ...]
    changed: tuple[str, ...]
    command: str
    uploaded: str | None = None
    warnings: tuple[str, ...] = ()


def push_run(
    run: Run, out: Path | str, *, to: str | None = None, public: bool = False, allow_restricted: bool = False,
    onnx: bool = False, progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> PushedRun:  # fmt: skip
    """Write a run as the folder of a repository, with a model card, and upload it where `to` names one.

    The folder opens as a run. Pictures, and paths of this machine, are not in it.

    Args:
        run: its folder, or the loaded run.
        out: new, empty, or a shared run that is replaced.
        to: OWNER/NAME on the Hugging Face hub; made if need be.
        public: whether a repository that is made is public.
        allow_restricted: the user states that the terms of data and weights allow it, where these forbid passing on, or
            are not known.
        onnx: add the network as ONNX.
        progress: shows the upload.

    Raises:
        ConfigError: not a run that can be shared, terms that forbid it, or an `out` that holds something else.
        IntegrityError: a file is not the one the run states.
        DownloadError: the hub refuses, or cannot be reached; the folder is written all the same.
    """
    if to is not None:
        if not _REPO.fullmatch(to):
            raise ConfigError(f"--to {to!r}: expected OWNER/NAME")
        run_place(f"hf://{to}")
    folder, out = run_path(folder_of(run)), Path(out)
    record = check_run(folder)
    lines, citations = _licence_lines(record)
    warnings = _weighed(lines, allow_restricted)
    facts = _card_facts(record, folder, lines, citations, f"hf://{to}" if to else out.name)
    further = [_write_onnx] if onnx else []
    made = write_shared(folder, out, facts, config_hash=_config_hash, further=further)
    command = f"hf upload {to or 'OWNER/NAME'} {out} ."
    address = upload(out, to, public=public, progress=progress) if to is not None else None
    return _pushed(made, lines, command, address, warnings)


def _pushed(
    made: SharedRun, lines: tuple[LicenceLine, ...], command: str, address: str | None, warnings: tuple[str, ...]
) -> PushedRun:
    sizes = {name: file.size for name, file in made.shared.files.items()}
    return PushedRun(made.folder, sizes, lines, made.shared.changed, command, address, warnings)


def _licence_lines(record: ResultRecord) -> tuple[tuple[LicenceLine, ...], tuple[str, ...]]:
    """What data and weights of a run are under, by the files of this installation; and what to cite."""
    from dfad_bench.ingest.sources.spec import load_dataset_spec

    lines: list[LicenceLine] = []
    citations: list[str] = []
    trained = {key.partition("/")[0] for part in ("train", "validation") for key in _groups(record, part)}
    for name in sorted(trained):
        try:
            spec = load_dataset_spec(name)
            licence, cite = spec.licence, spec.citation
        except DFADError:  # a dataset of another installation
            licence, cite = "not known: no dataset file of that name here", None
        lines.append(LicenceLine(f"training data, {name}", licence, terms_of(licence)))
        citations += [cite] if cite else []
    by_file = {row.file: row for row in weight_files().values()}
    for file in sorted(set(_start_files(record.model.init))):
        row = by_file.get(file)
        licence = row.licence if row else "not known: no row in weights.yaml has this file"
        lines.append(LicenceLine(f"initial weights, {file}", licence, terms_of(licence)))
    return tuple(lines), tuple(citations)


def _groups(record: ResultRecord, part: str) -> Mapping[str, int]:
    split = record.manifest.splits.get(part)
    return split.generators if split is not None else {}


def _start_files(init: Mapping[str, Any]) -> Iterator[str]:
    """Names of the weight files a run began from, through all runs before it."""
    if init.get("kind") == "local_file":
        yield str(init.get("id"))
    for file in init.get("files", {}).values() if init.get("kind") == "local_files" else ():
        yield str(file.get("id"))
    if isinstance(init.get("init"), Mapping):
        yield from _start_files(init["init"])


def _weighed(lines: tuple[LicenceLine, ...], allow_restricted: bool) -> tuple[str, ...]:
    """Warnings of the terms of a run.

    Non-commercial terms let weights be passed on under the same terms, which the card states. Terms that forbid passing
    the data on, and those nobody knows, may forbid it of weights, too: only the user can have asked.
    """
    hard = [f"{line.what}: {line.licence}" for line in lines if line.terms in ("restricted", "unknown")]
    soft = [f"{line.what}: {line.licence}" for line in lines if line.terms == "non_commercial"]
    if hard and not allow_restricted:
        raise ConfigError(
            f"terms that may forbid sharing what was trained on it: {listed(hard, 4, '; ')}; ask the owners, then"
            " --allow-restricted states that they allow it"
        )
    warnings = [f"shared on your word that its terms allow it: {listed(hard, 4, '; ')}"] if hard else []
    warnings += (
        [f"non-commercial terms bind the weights, too; the card says so: {listed(soft, 4, '; ')}"] if soft else []
    )
    return tuple(warnings)


def _card_facts(
    record: ResultRecord, folder: Path, lines: tuple[LicenceLine, ...], citations: tuple[str, ...], name: str
) -> CardFacts:
    from dfad_bench.api.open_world import open_world

    try:
        card = model_class(record.model.name).card
        about: dict[str, Any] = {"deviations": card.deviations, "paper": card.paper, "idea": card.idea}
    except UnknownNameError:  # a model of a package that is not installed
        about = {}
    try:
        rows = open_world(folder, "alarms", resamples=0).rows
        points = [{key: row.get(key) for key in ("rule", "threshold", "calibration_sources", "remark")} for row in rows]
    except DFADError as error:  # no validation faces were kept
        points = [{"rule": "0.5, the papers'", "threshold": 0.5, "remark": str(error)}]
    return CardFacts(**about, licences=lines, points=points, name=name, citations=citations)


def _config_hash(config: dict[str, Any]) -> str:
    from dfad_bench.engine.config import config_from

    return config_from(config, CONFIG).sha256


def _write_onnx(folder: Path) -> None:
    """The network as ONNX, of the folder that is given away: what the file says of itself is then without its paths."""
    from dfad_bench.api.export import export_run

    export_run(folder, folder / ONNX, "onnx")
