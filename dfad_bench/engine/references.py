"""The reference predictors of a run: fitted on facts of its training faces, stored beside the model's predictions.

`facts-only` sees size, format and bytes a pixel of the file; `gaze-only` the gaze, where a table of it is stored beside
every manifest in use. An evaluation predicts with what the run's training faces taught, which lies in the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pandas as pd

from dfad_bench.core.errors import DFADError, IntegrityError
from dfad_bench.core.files import check_hash
from dfad_bench.core.record import Reference
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_parquet import Kind, read_table, write_predictions
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.reference import FILE_FACTS, TREES, file_facts, has_facts, predict_from_facts
from dfad_bench.views.gaze import GAZE_FACTS, stored_gaze

if TYPE_CHECKING:
    from dfad_bench.data.select import Selection

FACTS_ONLY, GAZE_ONLY = "facts-only", "gaze-only"
_LABELS = ("attribution_label", "detection_label")
_COLUMNS: Mapping[str, tuple[str, ...]] = {FACTS_ONLY: FILE_FACTS, GAZE_ONLY: GAZE_FACTS}


@dataclass(frozen=True)
class Trained:
    """The run an evaluation is of: its folder, and what its facts state of its references and files."""

    files: RunFolder
    references: Mapping[str, Any]
    hashes: Mapping[str, str]

    @classmethod
    def of(cls, files: RunFolder, run: Mapping[str, Any]) -> Trained:
        """From the part `run` of the facts of a run."""
        return cls(files, run.get("references", {}), run.get("files", {}))


def write_references(
    files: RunFolder,
    selection: Selection,
    manifests: Sequence[Manifest],
    classes: int,
    *,
    gaze: str | None = None,
    trained: Trained | None = None,
) -> tuple[dict[str, Reference], list[str]]:
    """Fit the references, predict the test faces with them, and store both.

    Args:
        files: where they go.
        selection: the faces; training faces of a run, none of an evaluation.
        manifests: those in use.
        classes: generators that are told apart.
        gaze: estimator of the gaze table, where there are several; of a model that sees gaze its own.
        trained: of an evaluation, its run: what was learnt from is read there.

    Returns:
        What there is of each, and a line for each that cannot be made. A run of an earlier version has none, nor has
        one on manifests that state none of the facts (the audit counts those files).
    """
    made, lines = {}, []
    for name, find in ((FACTS_ONLY, _file_facts), (GAZE_ONLY, _gaze_facts)):
        if trained is not None and name not in trained.references:
            continue
        try:
            wanted = None if trained is None else dict(trained.references[name]["about"])
            found = find(manifests, gaze, wanted)
            reference = found and _make_reference(name, files, selection, classes, *found, trained)
            if reference:
                made[name] = reference
        except (DFADError, OSError) as error:
            lines.append(f"no {name} reference: {error}")
    return made, lines


_Found = tuple[Callable[[Sequence[str]], pd.DataFrame], dict[str, Any]]


def _file_facts(manifests: Sequence[Manifest], gaze: str | None, wanted: Mapping[str, Any] | None) -> _Found | None:
    return lambda names: file_facts(manifests, names), {}


def _gaze_facts(manifests: Sequence[Manifest], gaze: str | None, wanted: Mapping[str, Any] | None) -> _Found | None:
    fingerprint = None if wanted is None else wanted.get("fingerprint")
    found = stored_gaze(manifests, prefer=gaze, fingerprint=fingerprint)
    if found is None and wanted is not None:
        raise DFADError(
            f"no table of {wanted.get('estimator')} beside every manifest; `dfad gaze-extract` makes one, then evaluate"
            " again"
        )
    return None if found is None else (lambda names: found[0].reindex(list(names)), found[1])


def _make_reference(
    name: str,
    files: RunFolder,
    selection: Selection,
    classes: int,
    facts_of: Callable[[Sequence[str]], pd.DataFrame],
    about: dict[str, Any],
    trained: Trained | None,
) -> Reference | None:
    learnt = _store_training_facts(name, files, selection, facts_of) if trained is None else _read(name, trained)
    if learnt is None:
        return None
    tested, columns = selection.tested, list(_COLUMNS[name])
    facts = facts_of(tested["sample_id"].tolist())
    found = predict_from_facts(
        learnt.set_index("sample_id")[columns],
        learnt["attribution_label"].to_numpy(),
        learnt["detection_label"].to_numpy(),
        facts,
        classes,
    )
    kept = ["sample_id", "group", "source_key", *_LABELS, *(["video"] if tested["video"].notna().any() else [])]
    columns_of = {f"p_{k}": found.attribution[:, k].astype("float32") for k in range(classes)}
    frame = tested[kept].assign(**columns_of, p_fake=found.fake.astype("float32"))
    frame = frame.astype({"attribution_label": "int16", "detection_label": "int8"}).reset_index(drop=True)
    path = files.reference(name)
    write_predictions(path, frame)
    versions = {"scikit-learn": version("scikit-learn"), "trees": TREES}
    lacking = int((~has_facts(facts)).sum())
    place = path.relative_to(files.path).as_posix()
    return Reference(place, _COLUMNS[name], len(learnt), lacking, {**about, **versions})


def _store_training_facts(
    name: str, files: RunFolder, selection: Selection, facts_of: Callable[[Sequence[str]], pd.DataFrame]
) -> pd.DataFrame | None:
    """Facts and labels of the training faces, stored so that evaluations can be predicted; None where none is known."""
    train = selection.train
    facts = facts_of(train["sample_id"].tolist())
    if not has_facts(facts).any():
        return None
    rows = train[["sample_id", *_LABELS]].reset_index(drop=True)
    rows = pd.concat([rows, facts.reset_index(drop=True)], axis=1)
    path = files.reference_facts(name)
    write_predictions(path, rows)
    return rows


def _read(name: str, trained: Trained) -> pd.DataFrame:
    """The same of the run that is evaluated.

    Raises:
        IntegrityError: missing, damaged or changed.
    """
    path = trained.files.reference_facts(name)
    stated = trained.hashes.get(path.relative_to(trained.files.path).as_posix())
    if not path.is_file() or stated is None:
        raise IntegrityError(f"{path}: missing; train again")
    check_hash(path, stated)
    kinds: dict[str, Kind] = {"sample_id": "text", **dict.fromkeys(_LABELS, "whole")}
    facts: dict[str, Kind] = {c: "text" if c == "source_format" else "real" for c in _COLUMNS[name]}
    return read_table(path, {**kinds, **facts}, nullable=tuple(facts))
