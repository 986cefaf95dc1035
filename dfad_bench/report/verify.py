"""Does a record follow from its predictions? Every number in it is computed again, every hash compared.

What a record states and its folder does not hold (the checkpoint of a submitted record, say) cannot be checked, and is
named, as is what earlier versions did not record. Nothing is accepted only because the record states it: counts of test
faces, groups and columns come from the predictions, the hash of the settings from the settings, the hash of the
protocol from the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import content_hash, safe_relative, sha256_file
from dfad_bench.core.imported import faces_hash
from dfad_bench.core.labels import UNLABELLED, UNSEEN
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import EARLIER_INTERVALS, ResultRecord, identity, plain, read_record
from dfad_bench.core.record_ranges import range_faults
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RobustnessFolder, RunFolder
from dfad_bench.core.run_outputs import Outputs
from dfad_bench.core.run_parquet import prediction_files, read_predictions, read_selection
from dfad_bench.core.strict import from_mapping, read_yaml
from dfad_bench.report.outputs_check import check_outputs, compare_outputs
from dfad_bench.report.record_diff import (
    Difference,
    added_metrics,
    differences,
    leaves,
    reference_differences,
    score_differences,
)
from dfad_bench.report.references import scored_reference
from dfad_bench.report.repredicted import Repredicted, compare_predictions, compare_references
from dfad_bench.report.robustness.scores import metrics_of, score_robustness
from dfad_bench.report.robustness.settings import read_settings
from dfad_bench.report.run_record import draws_of
from dfad_bench.report.score import score

_SCORED = ("metrics", "groups", "sweep", "references")  # of the record, not of the run's facts
_OWN = ("record_id", "source", "schema_version", *_SCORED)
RowsHash = Callable[[pd.DataFrame], str]
ConfigHash = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Verification:
    """What was compared (numbers and hashes), what differs, and what a reader must know.

    `unchecked` are the notes about what could not be checked, because it is not there or was not recorded;
    `repredicted` says how predictions made again compare, one for each record that was.
    """

    record: Path
    compared: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    unchecked: tuple[str, ...] = ()
    repredicted: tuple[Repredicted, ...] = ()
    imported: bool = False

    @property
    def not_shown(self) -> str:
        """What this check does not prove, in a line."""
        trained = (
            "that the weights were trained as the record states, and on no test face; only a new training shows it"
        )
        if self.imported:
            return "Not shown: that a model made these predictions, and how it was trained; only its author can say."
        if self.repredicted:
            return f"Not shown: {trained}."
        return f"Not shown: that a model made these predictions (--repredict checks it); {trained}."


def verify_record(
    path: Path,
    *,
    rows_hash: RowsHash | None = None,
    config_hash: ConfigHash | None = None,
    elsewhere: Mapping[str, Path] | None = None,
) -> Verification:
    """Compute every number of a record again from the files beside it.

    Args:
        path: a record, or the folder of a run.
        rows_hash: the content hash of selected rows (`data.select.rows_hash`), to check the parts of the manifest.
        config_hash: the hash of a run's settings (`engine.config.RunConfig.sha256`).
        elsewhere: files of the run that lie in another folder than the record, by their name in the run.

    Raises:
        ConfigError: no record there, or none that can be read.
        IntegrityError: the predictions are missing or no predictions: nothing can be computed.
    """
    path = Path(path)
    path = RunFolder(path).record if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(f"{path}: no such record; `dfad train` and `dfad evaluate` write one")
    record = read_record(path, verify=False, ranges=False)
    return _Check(path, record, rows_hash, config_hash, elsewhere or {}).run()


def with_predictions(
    found: Verification,
    made: pd.DataFrame,
    *,
    unlike: Sequence[str] = (),
    manifest_sha256: str | None = None,
    parts: Mapping[str, str] | None = None,
    references: Mapping[str, pd.DataFrame] | None = None,
    no_references: Sequence[str] = (),
    outputs: Outputs | None = None,
) -> Verification:
    """What was found in a record, and how predictions made again from its checkpoint compare with the stored ones.

    Equal device, threads and versions that give other bits are a note that `--strict` refuses: another processor, or
    other predictions within the tolerance.
    """
    record = read_record(found.record, verify=False, ranges=False)
    protocol = from_mapping(Protocol, record.protocol.config, f"{found.record}: protocol")
    stated = read_predictions(safe_relative(found.record.parent, record.predictions.path))
    repredicted = compare_predictions(
        record, protocol, stated, made, unlike=unlike, manifest_sha256=manifest_sha256, parts=parts
    )
    odd = (
        []
        if repredicted.exact or repredicted.unlike or repredicted.differences
        else [f"{repredicted}: another processor?"]
    )
    if references is not None:
        wrong, lines = compare_references(record, found.record.parent, references, no_references)
        repredicted = replace(repredicted, differences=(*repredicted.differences, *wrong))
        odd += lines
    if outputs is not None:
        others = compare_outputs(record, found.record.parent, outputs, repredicted.tolerance)
        repredicted = replace(repredicted, differences=(*repredicted.differences, *others))
    return replace(
        found,
        differences=(*found.differences, *repredicted.differences),
        notes=(*found.notes, *odd),
        unchecked=(*found.unchecked, *odd),
        repredicted=(*found.repredicted, repredicted),
    )


class _Check:
    def __init__(
        self,
        path: Path,
        record: ResultRecord,
        rows_hash: RowsHash | None,
        config_hash: ConfigHash | None,
        elsewhere: Mapping[str, Path],
    ) -> None:
        self.path, self.folder, self.record = path, path.parent, record
        self.files = RunFolder(path.parent)
        self.rows_hash, self.config_hash, self.elsewhere = rows_hash, config_hash, elsewhere
        self.compared, self.notes, self.unchecked = 0, list[str](), list[str]()

    def run(self) -> Verification:
        protocol = from_mapping(Protocol, self.record.protocol.config, f"{self.path}: protocol")
        frame = self._predictions()
        found = [*self._hashes(protocol), *self._files(), *self._counts(frame), *self._facts()]
        found += [*self._parts(protocol, frame), *self._scores(frame, protocol), *self._references(frame, protocol)]
        found += check_outputs(self.record, self.folder, frame)
        named = {difference.name for difference in found}
        found += [one for one in self._ranges() if one.name not in named]
        notes = (*self.unchecked, *self.notes)
        imported = self.record.imported is not None
        return Verification(self.path, self.compared, tuple(found), notes, tuple(self.unchecked), imported=imported)

    def _predictions(self) -> pd.DataFrame:
        file = safe_relative(self.folder, self.record.predictions.path)
        parts = prediction_files(file)
        if not parts:
            raise IntegrityError(f"{file}: missing; a record is checked beside its predictions")
        return pd.concat(list(map(read_predictions, parts)), ignore_index=True)

    def _hashes(self, protocol: Protocol) -> Iterator[Difference]:
        """The record's own hash and those of protocol, settings, predictions and checkpoint."""
        record = self.record
        yield from self._compare_value("record_id", record.record_id, identity(record))
        yield from self._compare_value("protocol.sha256", record.protocol.sha256, protocol.sha256)
        yield from self._compare_value("protocol.name", record.protocol.name, protocol.name)
        yield from self._compare_value("protocol.version", record.protocol.version, str(protocol.version))
        file = safe_relative(self.folder, record.predictions.path)
        rows = plain(protocol.included_generators)
        yield from self._compare_value("protocol.included_generators", record.protocol.included_generators, rows)
        if file.is_file():
            yield from self._compare_value("predictions.sha256", record.predictions.sha256, sha256_file(file))
        else:
            self.unchecked.append("the predictions are kept in parts: predictions.sha256, of one file, was not checked")
        if record.run.config:
            yield from self._settings(record.run.config)
        if record.model.checkpoint_sha256 is None:
            return
        weights = self.files.weights_beside
        if weights is None:
            self.unchecked.append("the checkpoint is not beside the record: model.checkpoint_sha256 was not checked")
        else:
            yield from self._compare_value(
                "model.checkpoint_sha256", record.model.checkpoint_sha256, sha256_file(weights)
            )

    def _files(self) -> Iterator[Difference]:
        """The run's other files, by the hashes that records of today keep of them."""
        recorded = self.record.run.files
        for name, stated in recorded.items():
            path = self._place(name)
            if path.is_file():
                yield from self._compare_value(f"run.files.{name}", stated, sha256_file(path))
            else:
                self.unchecked.append(f"{name} is not beside the record: it was not checked")
        own = (self.files.config, self.files.trace, self.files.checkpoint.model)
        if there := [path.name for path in own if path.is_file() and not recorded]:
            self.unchecked.append(f"{', '.join(there)}: not recorded, and so not checked (a run of an earlier version)")
        if self.files.config.is_file() and self.record.run.config and self.files.config.name not in recorded:
            yield from self._compare_value("run.config", self.record.run.config, read_yaml(self.files.config))

    def _settings(self, config: dict[str, Any]) -> Iterator[Difference]:
        """What the record says twice: in the run's settings, and beside them."""
        run, model = self.record.run, self.record.model
        if self.config_hash is None:
            self.unchecked.append("run.config_sha256 was not checked")
        else:
            yield from self._compare_value("run.config_sha256", run.config_sha256, self.config_hash(config))
        pairs: dict[str, Any] = {
            "seed": run.seed,
            "precision": run.precision,
            "model": model.name,
            "heads": model.heads,
        }
        pairs |= {"size": model.size, "options": model.options}
        for key, stated in pairs.items():
            if key in config:
                part = "run" if hasattr(run, key) else "model"
                name = f"{part}.{'name' if key == 'model' else key}"
                yield from self._compare_value(name, stated, config[key])
        if self.files.config.is_file() and "manifests" in config:  # not of an evaluation on other faces
            digest = content_hash(sorted(map(list, config["manifests"].items())))
            yield from self._compare_value("manifest.content_sha256", self.record.manifest.content_sha256, digest)

    def _counts(self, frame: pd.DataFrame) -> Iterator[Difference]:
        """Numbers of faces and columns."""
        record = self.record
        yield from self._compare_value("predictions.rows", record.predictions.rows, len(frame))
        yield from self._compare_value("predictions.columns", list(record.predictions.columns), list(frame.columns))
        if "severity" in frame:
            frame = frame[frame["severity"] == 0]  # every face once
        yield from self._compare_value("samples.evaluated", record.samples.evaluated, len(frame))
        yield from self._compare_value("samples.failed", record.samples.failed, record.samples.expected - len(frame))
        if record.samples.sources is not None:
            yield from self._compare_value("samples.sources", record.samples.sources, frame["source_key"].nunique())
        if test := record.manifest.splits.get("test"):
            expected = record.samples.expected - (record.samples.failed if record.imported else 0)
            groups = {str(key): int(n) for key, n in frame["group"].value_counts().items()}
            yield from self._compare_value("manifest.splits.test.rows", test.rows, expected)
            yield from self._compare_value("manifest.splits.test.generators", dict(test.generators), groups)

    def _facts(self) -> Iterator[Difference]:
        """The run's own facts, from which the record was made."""
        path = self.files.facts
        if not path.is_file():
            self.unchecked.append(
                f"no {path.name} beside the record: facts of the run (steps, times, versions) were not checked"
            )
            return
        facts = read_facts(path)
        if (facts.get("imported") is None) != (self.record.imported is None):  # no record can be both
            yield Difference("imported", plain(self.record.imported), facts.get("imported"))
            return
        ours = {key: value for key, value in plain(self.record).items() if key not in _OWN}
        whole = from_mapping(ResultRecord, {**plain(self.record), **facts}, str(path))
        theirs = {key: value for key, value in plain(whole).items() if key not in _OWN}
        yield from self._compare_value("", ours, theirs)

    def _parts(self, protocol: Protocol, frame: pd.DataFrame) -> Iterator[Difference]:
        """The rows of every part, where the run says which they were; imported ones may be all there is."""
        if self.record.imported is not None and self.record.imported.matched_by == "columns":
            stated, digest = self.record.manifest, faces_hash(frame)
            yield from self._compare_value("manifest.content_sha256", stated.content_sha256, digest)
            if test := stated.splits.get("test"):
                yield from self._compare_value("manifest.splits.test.content_sha256", test.content_sha256, digest)
            return
        chosen = self.elsewhere.get(self.files.selection.name) or self.files.selection_beside
        if chosen is None or self.rows_hash is None:
            self.unchecked.append(
                f"no {self.files.selection.name} beside the record: which faces were selected was not checked"
            )
            return
        rows = read_selection(chosen)
        labels = {group.key: group.label for group in protocol.groups}
        kinds = {group.key: group.taxon.detection_label for group in protocol.groups}
        if strange := sorted(set(rows["group"]) - labels.keys() - {group.key for group in protocol.unlabelled}):
            yield Difference(f"{chosen.name}: groups that protocol {protocol.name} does not have", 0, len(strange))
            return
        yield from self._same_faces(rows[rows["part"] == "test"], frame)
        for name, split in self.record.manifest.splits.items():
            mine = rows[rows["part"] == name]
            if name == "unlabelled":
                mine = mine.assign(attribution_label=UNSEEN, detection_label=UNLABELLED)
            else:
                known = {"attribution_label": mine["group"].map(labels), "detection_label": mine["group"].map(kinds)}
                mine = mine.assign(**known)
            found = {str(key): int(n) for key, n in mine["group"].value_counts().items()}
            at = f"manifest.splits.{name}"
            yield from self._compare_value(f"{at}.rows", split.rows, len(mine))
            yield from self._compare_value(f"{at}.generators", dict(split.generators), found)
            yield from self._compare_value(f"{at}.content_sha256", split.content_sha256, self.rows_hash(mine))

    def _same_faces(self, tested: pd.DataFrame, frame: pd.DataFrame) -> Iterator[Difference]:
        """The predicted faces are those selected for test, of the same groups and sources."""
        columns = ["sample_id", "group", "source_key"]
        if not set(columns) <= set(tested):
            return
        stated, found = (set(rows[columns].astype(str).itertuples(index=False, name=None)) for rows in (tested, frame))
        yield from self._compare_value("predictions: faces not selected for test", 0, len(found - stated))
        yield from self._compare_value(
            "predictions: faces selected for test and not predicted so", 0, len(stated - found)
        )

    def _scores(self, frame: pd.DataFrame, protocol: Protocol) -> Iterator[Difference]:
        """Metrics with their intervals and counts, counts of groups, the sweep."""
        record = self.record
        resamples, seed = draws_of(record)
        earlier = record.schema_version in EARLIER_INTERVALS
        if {value.task for value in record.metrics} == {"robustness"}:
            settings = read_settings(RobustnessFolder(self.folder).settings)
            new = score_robustness(
                frame, protocol, settings, heads=record.model.heads, resamples=resamples, metrics=metrics_of(record),
                earlier=earlier,
            )  # fmt: skip
        else:
            new = score(frame, protocol, heads=record.model.heads, resamples=resamples, seed=seed, earlier=earlier)
        if others := sum(value.task not in {n.task for n in new.metrics} for value in record.metrics):
            why = "these predictions do not decide them"
            self.unchecked.append(f"{others} numbers of other tasks were not checked: {why}")
        if record.schema_version == "1.0":
            lacks = "intervals were not checked, and it lacks newer numbers"
            self.unchecked.append(f"schema {record.schema_version}: {lacks}")
        elif earlier:
            made = "made by the earlier rule of intervals, and checked by that rule"
            anew = "`dfad evaluate --run RUN --rescore` makes them by today's"
            self.notes.append(f"schema {record.schema_version}: {made}; {anew}")
        if added := added_metrics(record, new):
            self.notes.append(f"made before there was {', '.join(added)}: `dfad evaluate --run RUN --rescore` adds it")
        self.compared += sum(map(leaves, (plain(record.metrics), plain(record.groups), plain(record.sweep))))
        yield from score_differences(record, new)

    def _references(self, frame: pd.DataFrame, protocol: Protocol) -> Iterator[Difference]:
        """Numbers of the predictors that see no pixel, from their own predictions."""
        record, found = self.record, {}
        for name, about in record.run.references.items():
            path = self._place(about.path)
            if not path.is_file():
                self.unchecked.append(f"{about.path} is not beside the record: its numbers were not checked")
                found[name] = record.references.get(name, ())
                continue
            if about.path not in record.run.files:
                yield Difference(f"run.files.{about.path}", None, sha256_file(path))
            earlier = record.schema_version in EARLIER_INTERVALS
            found[name] = scored_reference(read_predictions(path), protocol, frame, str(path), earlier=earlier)
            self.compared += leaves(plain(record.references.get(name, ())))
        yield from reference_differences(record, found)

    def _place(self, name: str) -> Path:
        """A file of the run, there or not."""
        return self.elsewhere.get(name) or safe_relative(self.folder, name)

    def _ranges(self) -> Iterator[Difference]:
        """Impossible numbers, also those that do not follow from these predictions."""
        for fault in range_faults(self.record):
            yield Difference(f"{fault.where}, expected {fault.allowed},", fault.stated, None)

    def _compare_value(self, name: str, stated: Any, found: Any) -> Iterator[Difference]:
        self.compared += leaves(stated)
        yield from differences(name, stated, found)
