"""Rows of a table matched with the test faces of a protocol: by the names of faces, or of the files they are from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, ProtocolError, listed, quoted
from dfad_bench.core.files import plain_path
from dfad_bench.core.imported import Matching
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_facts import manifest_facts
from dfad_bench.data.select import Selection, lacks_every_group, manifests_used, select
from dfad_bench.intake.columns import Columns, answers, detection_labels, names_with_frames
from dfad_bench.intake.prepared import PreparedImport, prediction_frame, refuse_doubles, with_kept_columns
from dfad_bench.intake.settings import ImportSettings
from dfad_bench.intake.table import RawTable

_PARTS = 64  # folders of a path that are looked at


def matched_import(
    table: RawTable, columns: Columns, protocol: Protocol, manifests: Sequence[Manifest], settings: ImportSettings
) -> PreparedImport:
    """The rows of a table as predictions of a protocol's test faces.

    Args:
        table: with a column `sample_id`, or `file`: the path below the source folder (`origin` of the manifest), one
            that ends with it, or the end of it where that is of one face only. A frame of a video is `file#frame`, or
            has a column `frame`.
        columns: of the table.
        protocol: whose test faces they are.
        manifests: one a dataset of the protocol.
        settings: limits of unmatched rows and missing faces.

    Raises:
        ConfigError: too many rows or faces without the other, a label that contradicts the protocol, or classes that
            are not those of the protocol.
        ProtocolError: groups are missing or short, and `allow_partial` is not set.
    """
    mine = manifests_used(protocol, manifests)
    if not mine:
        raise ProtocolError(lacks_every_group(protocol, manifests))
    selection = select(protocol, mine, allow_partial=settings.allow_partial, training=False)
    tested = selection.tested
    by: Matching = "sample_id" if "sample_id" in columns.roles else "file name"
    if by == "sample_id":
        names = table.texts(columns.roles["sample_id"])
        refuse_doubles(names, str(table.path))
        found = names
    else:
        found = _faces_of_files(table, columns, tested, mine)
    places = pd.Index(tested["sample_id"]).get_indexer(pd.Index(found))
    matched = places >= 0
    _check_limits(table, matched, len(tested), by, settings)
    refuse_doubles(found[matched], str(table.path))
    used = table.kept_rows(matched)
    faces = tested.iloc[places[matched]].reset_index(drop=True)
    _refuse_other_labels(used, columns, faces, settings)
    probs, p_fake = answers(used, columns)
    probs = probs[:, _order_of_classes(columns, protocol, str(table.path))]
    frame = prediction_frame(faces, probs, p_fake)
    further = {name: used.texts(name) for name in settings.keep}
    frame = with_kept_columns(frame, faces["sample_id"].to_numpy(), further)
    rows = faces.assign(part="test")[["sample_id", "part", "group", "source_key", "crop_sha256"]]
    kept = Selection(selection.train, selection.validation, _by_group(faces, selection))
    return PreparedImport(
        protocol, manifest_facts(mine, kept), frame, columns, by, len(table), len(tested),
        unmatched=int((~matched).sum()), deviations=tuple(selection.deviations), selection=rows,
        refused=selection.refused,
        partial=bool(selection.missing or (selection.short_groups and protocol.on_short == "error")),
    )  # fmt: skip


def _by_group(faces: pd.DataFrame, selection: Selection) -> dict[str, pd.DataFrame]:
    """The matched faces of each group, in the protocol's order."""
    return {key: rows for key in selection.test if len(rows := faces[faces["group"] == key])}


def _check_limits(table: RawTable, matched: np.ndarray, faces: int, by: Matching, settings: ImportSettings) -> None:
    """Refuse a table that mostly is of other faces, or that leaves out too many."""
    unmatched, missing = int((~matched).sum()), faces - int(matched.sum())
    for what, count, of, limit, flag in (
        ("rows are no test face of the protocol", unmatched, len(table), settings.max_unmatched, "--max-unmatched"),
        ("test faces have no row", missing, faces, settings.max_missing, "--max-missing"),
    ):
        if count > limit * of or count == of:
            way_out = "" if count == of else f"; {flag} {min(1.0, round(count / of + 0.005, 2)):g} accepts that"
            raise ConfigError(
                f"{table.path}: {count:,} of {of:,} {what} (matched by {by}, at most {limit:.0%} may be so){way_out}"
            )


def _refuse_other_labels(used: RawTable, columns: Columns, faces: pd.DataFrame, settings: ImportSettings) -> None:
    """Refuse a table whose labels are not the protocol's: its answers may be those of the opposite question."""
    labels = detection_labels(used, columns, settings.labels)
    if labels is None:
        return
    other = labels != faces["detection_label"].to_numpy()
    if other.any():
        name = faces["sample_id"].iloc[int(np.flatnonzero(other)[0])]
        raise ConfigError(
            f"{used.path}: {int(other.sum()):,} of {len(labels):,} rows have another label than the protocol"
            f" (face {name} first): is p_fake the probability of being forged? Without the column label it is believed"
        )


def _order_of_classes(columns: Columns, protocol: Protocol, where: str) -> list[int]:
    """Which column of probabilities is each label's: `p_<generator>` by any name of the taxonomy, or `p_<label>`.

    Raises:
        ConfigError: the classes are not those of the protocol.
    """
    if not columns.classes:
        return []
    seen = sorted(protocol.seen, key=lambda group: group.label)
    by_number = all(name.isdecimal() for name in columns.classes)
    places: dict[int, int] = {}
    for place, name in enumerate(columns.classes):
        label = int(name) if by_number else _label_named(name, protocol)
        if label is None or label >= len(seen) or label in places:
            raise ConfigError(f"{where}: p_{name} is no class of {protocol.name} ({_classes_text(protocol)})")
        places[label] = place
    if absent := [group.generator for group in seen if group.label not in places]:
        raise ConfigError(f"{where}: no column of probabilities for {listed(absent)} ({_classes_text(protocol)})")
    return [places[group.label] for group in seen]


def _label_named(name: str, protocol: Protocol) -> int | None:
    key = taxonomy()[name].key if name in taxonomy() else None
    named = {group.taxon.key: group.label for group in protocol.seen}
    return named.get(key) if key is not None else None


def _classes_text(protocol: Protocol) -> str:
    seen = sorted(protocol.seen, key=lambda group: group.label)
    return "its classes: " + listed([f"p_{group.generator}" for group in seen])


def _faces_of_files(
    table: RawTable, columns: Columns, tested: pd.DataFrame, manifests: Iterable[Manifest]
) -> np.ndarray:
    """The `sample_id` of each row's file (n,), empty where none is known.

    Raises:
        ConfigError: a name that is the end of several paths.
    """
    wanted = set(tested["sample_id"])
    ends: dict[str, list[str]] = defaultdict(list)
    whole: dict[str, str] = {}
    for manifest in manifests:
        rows = manifest.frame(["sample_id", "origin", "frame"])
        for face, origin, frame in rows.itertuples(index=False, name=None):
            if face not in wanted:
                continue
            name = plain_path(str(origin)) + ("" if pd.isna(frame) else f"#{int(frame)}")
            whole[f"{manifest.name}/{name}"] = face
            parts = name.split("/")[-_PARTS:]
            for place in range(len(parts)):
                ends["/".join(parts[place:])].append(face)
    texts = names_with_frames(table, columns, table.texts(columns.roles["file"]))
    return np.array([_face_of(text, whole, ends, str(table.path)) for text in texts], dtype=object)


def _face_of(text: str, whole: dict[str, str], ends: dict[str, list[str]], where: str) -> str:
    parts = plain_path(text).strip("/").split("/")[-_PARTS:]
    for place in range(len(parts)):  # the longest end of the given path that is known
        end = "/".join(parts[place:])
        if end in whole:
            return whole[end]
        if faces := ends.get(end):
            if len(set(faces)) > 1:
                many = f"is the end of {len(faces)} faces' paths; begin it with the dataset's name"
                raise ConfigError(f"{where}: file {quoted(text)} {many}")
            return faces[0]
    return ""
