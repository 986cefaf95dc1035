"""What is known of a finished run, as an exported file says it: thresholds, licences, crops, hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from dfad_bench.core.errors import ConfigError, DFADError, UnknownNameError
from dfad_bench.core.resources import find_yaml
from dfad_bench.core.strict import read_yaml
from dfad_bench.core.version import __version__
from dfad_bench.core.weights import weight_files
from dfad_bench.engine.load import LoadedRun
from dfad_bench.export.facts import Band, ExportFacts, UnseenRule, ViewInput
from dfad_bench.report.open_world.alarm_points import alarm_points
from dfad_bench.report.open_world.face_answers import RunAnswers
from dfad_bench.report.open_world.operating_points import operating_points
from dfad_bench.report.open_world.run_arrays import RunArrays

NOT_STATED = "not stated"
KEPT = 0.95  # share of seen faces that the threshold for "unseen" promises to keep
_SCORE = "msp"  # the largest probability, the one score that needs nothing beside probabilities


def facts_of_run(run: LoadedRun, views: tuple[ViewInput, ...], *, embedding: bool) -> ExportFacts:
    """The facts of a scored run, before its file was compared with torch.

    Raises:
        ConfigError: the run was not scored.
        IntegrityError: files of it were changed after they were written.
    """
    if run.record is None:
        raise ConfigError(f"{run.folder}: not scored yet, so its thresholds are unknown; `dfad evaluate --rescore` it")
    arrays, record = RunArrays(run.folder, resamples=0), run.record
    answers = RunAnswers(arrays)
    band = answers.band
    model = {key: getattr(record.model, key) for key in ("name", "display", "size", "heads", "checkpoint_sha256")}
    model |= {"options": dict(run.config.model_options), "registry_sha256": record.model.registry_sha256}
    return ExportFacts(
        model=model,
        classes=answers.classes,
        side=run.protocol.image_size if run.model.needs_images else None,
        views=views,
        width=run.model.embedding_dim if embedding else None,
        detection=None if band is None else Band(band.low, band.high, band.rule),
        unseen=_unseen_rule(arrays) if answers.attributes else None,
        points=tuple(_points(arrays)),
        protocol={key: getattr(record.protocol, key) for key in ("name", "version", "sha256")},
        run={
            "run_id": record.run.run_id, "record_id": record.record_id, "seed": record.run.seed,
            "config_sha256": record.run.config_sha256, "manifest_sha256": record.manifest.content_sha256,
        },
        crops={name: dict(made) for name, made in record.manifest.made.items()},
        licence={
            "weights": licences_of_weights(run.config.init),
            "data": {name: licence_of_dataset(name) for name in sorted(run.config.manifests)},
        },
        notes=(*record.warnings, *run.model.card.notes),
        made={"dfad_bench": __version__, "trained_with_torch": record.environment.torch},
    )  # fmt: skip


def _points(arrays: RunArrays) -> Iterator[dict[str, Any]]:
    """Thresholds of detection and for "unseen", as `dfad scores --table alarms` and `operating-points` have them."""
    try:
        for rule, threshold, sources, reason in alarm_points(arrays):
            yield {"task": "detection", "rule": rule, "threshold": threshold, "sources": sources, "remark": reason}
        for point in operating_points(arrays):
            if point.score in (_SCORE, "any"):
                rule = "the papers'" if point.level is None else f"keeps {point.level:.0%} of seen"
                threshold = point.threshold if point.threshold is not None and isfinite(point.threshold) else None
                yield {
                    "task": "attribution", "rule": rule, "threshold": threshold, "sources": point.sources,
                    "remark": point.reason,
                }  # fmt: skip
    except ConfigError as error:  # the run kept no predictions of validation faces
        yield {"task": "both", "rule": "validation", "threshold": None, "sources": None, "remark": str(error)}


def _unseen_rule(arrays: RunArrays) -> UnseenRule:
    """The threshold of validation faces that keeps seen ones, else the papers'."""
    papers = UnseenRule(arrays.protocol.attribution.headline, "the papers' threshold, which promises nothing")
    try:
        points = [point for point in operating_points(arrays, (KEPT,)) if point.score == _SCORE and point.level]
    except ConfigError:
        return papers
    for point in points:
        if point.threshold is not None and isfinite(point.threshold):
            rule = f"keeps {KEPT:.0%} of seen faces, by {point.sources} validation sources"
            return UnseenRule(min(max(point.threshold, 0.0), 1.0), rule)
    return papers


def licences_of_weights(init: Mapping[str, Any]) -> dict[str, str]:
    """By weight file a run started from, its licence; that of files without a row in `weights.yaml` is not stated.

    >>> licences_of_weights({"kind": "random"})
    {}
    """
    while init.get("kind") == "run":
        init = init["init"]
    files = {"": init} if init.get("kind") == "local_file" else init.get("files", {})
    known = weight_files()
    names = [str(file.get("id")) for file in files.values()]
    return {name: known[name].licence if name in known else NOT_STATED for name in names}


def licence_of_dataset(name: str) -> str:
    """What the dataset's file says of its licence; not stated where there is no such file here."""
    try:
        raw = read_yaml(find_yaml("manifests", "datasets", name))
    except (UnknownNameError, DFADError):
        return NOT_STATED
    return str(raw.get("licence") or NOT_STATED) if isinstance(raw, Mapping) else NOT_STATED
