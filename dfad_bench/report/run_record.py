"""A run folder to its record: facts of the run, predictions and protocol in, `record.json` out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from dfad_bench.core.errors import ConfigError, IntegrityError, listed
from dfad_bench.core.files import check_hash, content_hash, safe_relative
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import (
    EARLIER_INTERVALS,
    SCHEMA_VERSION,
    ResultRecord,
    plain,
    read_record,
    seal,
    write_record,
)
from dfad_bench.core.record_ranges import check_ranges
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RunFolder, not_a_run
from dfad_bench.core.run_parquet import read_predictions as prediction_table
from dfad_bench.core.strict import from_mapping
from dfad_bench.report.record_diff import reference_differences, score_differences
from dfad_bench.report.references import reference_numbers
from dfad_bench.report.score import RESAMPLES, score


def build_record(run: Path, *, resamples: int = RESAMPLES, trust: str = "self_reported") -> ResultRecord:
    """Score a finished run and write its record.

    Args:
        run: the run folder, with `run.json` and `predictions.parquet`.
        resamples: bootstrap samples of the intervals.
        trust: see `core.record.Source`.

    Raises:
        ConfigError: not a run folder.
        IntegrityError: the predictions are not those of the run, or not of its protocol.
    """
    run, files = Path(run), RunFolder(Path(run))
    if not files.facts.is_file():
        raise ConfigError(not_a_run(run, files.facts.name))
    facts = read_facts(files.facts)
    protocol = protocol_of(facts, str(files.facts))
    frame = read_predictions(run, facts["predictions"])
    if len(frame) != facts["samples"]["evaluated"]:
        raise IntegrityError(f"{run}: {len(frame)} predictions, {facts['samples']['evaluated']} faces were evaluated")
    scored = score(frame, protocol, heads=facts["model"].get("heads", "both"), resamples=resamples)
    source = _source(facts, trust)
    references = reference_numbers(run, facts["run"], protocol, frame)
    made = {"metrics": scored.metrics, "groups": scored.groups, "sweep": scored.sweep, "references": references}
    record = seal({**facts, "source": source, **made})
    check_ranges(record, str(files.record))
    write_record(files.record, record)
    return record


def _source(facts: dict[str, Any], trust: str) -> dict[str, Any]:
    """Where the numbers come from; of imported predictions with what their author says."""
    imported = facts.get("imported")
    if imported is None:
        return {"kind": "measured", "trust": trust}
    card = imported.get("card", {})
    said = {"citation": card.get("reference"), "submitter": card.get("author")}
    return {"kind": "imported", "trust": trust, **{key: value for key, value in said.items() if value is not None}}


def rescore(run: Path) -> ResultRecord:
    """Compute a record's metrics again from its predictions; write it as recomputed when they agree.

    Raises:
        IntegrityError: a number differs by more than 1e-9, or the predictions were changed.
    """
    path = RunFolder(Path(run)).record
    old = read_record(path, ranges=False)  # its numbers are computed again
    protocol = protocol_of({"protocol": {"config": old.protocol.config}}, str(path))
    frame = read_predictions(path.parent, {"path": old.predictions.path, "sha256": old.predictions.sha256})
    resamples, seed = draws_of(old)
    earlier = old.schema_version in EARLIER_INTERVALS
    new = score(frame, protocol, heads=old.model.heads, resamples=resamples, seed=seed, earlier=earlier)
    references = reference_numbers(path.parent, plain(old.run), protocol, frame, earlier=earlier)
    if different := [*score_differences(old, new), *reference_differences(old, references)]:
        changed = "" if protocol.sha256 == old.protocol.sha256 else "; a row of its included generators was changed"
        raise IntegrityError(f"{path}: does not follow from its predictions{changed}: {listed(different, 3, '; ')}")
    if earlier:  # the record agrees with the rule it was made by; it is written by today's
        new = score(frame, protocol, heads=old.model.heads, resamples=resamples, seed=seed)
        references = reference_numbers(path.parent, plain(old.run), protocol, frame)
    scored = {value.task for value in new.metrics}
    others = tuple(value for value in old.metrics if value.task not in scored)
    values = {name: getattr(old, name) for name in old.__dataclass_fields__ if name != "record_id"}
    trust = old.source.trust if old.source.trust == "reproduced" else "recomputed"
    fresh = {**vars(new), "metrics": (*new.metrics, *others), "schema_version": SCHEMA_VERSION}
    fresh["references"] = references
    record = seal({**values, **fresh, "source": replace(old.source, trust=trust)})
    check_ranges(record, str(path))
    write_record(path, record)
    return record


def trained_elsewhere(record: ResultRecord) -> str | None:
    """Under which protocol, on which faces a record's model was trained, where that is not what it was tested under.

    None for a run under its own protocol, and where the record does not say.
    """
    config = record.run.config
    if "protocol_sha256" not in config or "manifests" not in config:
        return None
    faces = content_hash(sorted(map(list, config["manifests"].items())))
    if (config["protocol_sha256"], faces) == (record.protocol.sha256, record.manifest.content_sha256):
        return None
    return f"trained under {config.get('protocol')} ({config['protocol_sha256'][:8]}) on faces {faces[:8]}"


def history(record: ResultRecord) -> list[str]:
    """What the reader must know of a model's training: from another run's weights, with other prompts, or extended."""
    init, lines = record.model.init, []
    if init.get("kind") == "run":
        from_run = f"run {str(init.get('run_id'))[:8]} of protocol {init.get('protocol')}, seed {init.get('seed')}"
        before = ", ".join(map(str, init.get("unseen_trained_on") or ()))
        lines.append(f"fine-tuned from {from_run}{f'; trained on {before} before, unseen here' if before else ''}")
    if isinstance(prompts := record.run.config.get("prompts"), dict) and prompts:
        lines.append(f"prompts {prompts.get('name')} ({content_hash(prompts)[:8]})")
    for each in record.run.extended:
        reasons = "; ".join(each.reasons) or ("" if each.as_one_run else "as before")
        unlike = f", not as one run: {reasons}" if reasons else ""
        lines.append(f"trained on after {each.from_epochs:g} epochs{unlike}")
    return lines


_OF_ONE_SEED = ("run_id", "config_sha256", "sha256", "seed", "steps")  # of a run whose weights another started from


def settings_but_seed(record: ResultRecord) -> dict[str, Any]:
    """The settings that runs of several seeds share: without the seed, and what follows from it.

    A run made longer, as one of that length would be, has the settings of such a run.
    """
    settings = {key: value for key, value in record.run.config.items() if key not in ("seed", "extended")}
    if unlike := [[each.reasons, each.kept] for each in record.run.extended if not each.as_one_run]:
        settings["extended"] = unlike
    if isinstance(settings.get("init"), dict):
        settings["init"] = _start_but_seed(settings["init"])
    return settings


def _start_but_seed(init: dict[str, Any]) -> dict[str, Any]:
    if init.get("kind") != "run":
        return init
    kept = {key: value for key, value in init.items() if key not in _OF_ONE_SEED}
    return {**kept, "init": _start_but_seed(kept["init"])} if isinstance(kept.get("init"), dict) else kept


def draws_of(record: ResultRecord) -> tuple[int, int]:
    """Bootstrap samples of a record's intervals, and their seed."""
    drawn = [value for value in record.metrics if value.ci_resamples]
    return (drawn[0].ci_resamples or 0, drawn[0].ci_seed or 0) if drawn else (0, 0)


def read_predictions(run: Path, facts: dict[str, Any]) -> pd.DataFrame:
    """The predictions of a run, checked against their hash.

    Raises:
        IntegrityError: missing, damaged or changed.
    """
    path = safe_relative(run, str(facts["path"]))
    if not path.is_file():
        raise IntegrityError(f"{path}: missing; run the same `dfad train` again")
    check_hash(path, str(facts["sha256"]))
    return prediction_table(path)


def protocol_of(facts: dict[str, Any], where: str) -> Protocol:
    """The protocol a run or record carries in full.

    Raises:
        IntegrityError: its hash is not the one that is stated.
    """
    protocol = from_mapping(Protocol, facts["protocol"]["config"], f"{where}: protocol")
    stated = facts["protocol"].get("sha256")
    if stated is not None and stated != protocol.sha256:
        raise IntegrityError(f"{where}: the protocol does not match its hash")
    return protocol
