"""A table that stands for itself: groups, labels and what is unseen come from its columns, and so does the protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.files import plain_path
from dfad_bench.core.imported import faces_hash
from dfad_bench.core.labels import FAKE, REAL, UNSEEN
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.record import ManifestFacts, SplitFacts
from dfad_bench.core.taxonomy import REAL_KEY, taxonomy
from dfad_bench.intake.columns import Columns, answers, detection_labels, names_with_frames, seen_flags
from dfad_bench.intake.prepared import PreparedImport, prediction_frame, refuse_doubles, with_kept_columns
from dfad_bench.intake.table import RawTable

FAKE_KEY = "fake"  # generators that the taxonomy does not know are parts of it
_SET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_UNKNOWN_SEEN = (
    "the table does not say which generators the model has seen in training: all forged ones stand among the unseen"
)
_OWN_SOURCES = (
    "no column source_key or video: every row counts as a source of its own, and intervals over faces are too narrow"
    " where rows share a person or a video"
)
_NOTE = "Made of the columns of an imported table; sizes of images, counts and splits are not known."


@dataclass(frozen=True)
class _Parts:
    """Of each row (n,): the forged one's generator key and part, or the real one's; label and whether it is seen."""

    generator: np.ndarray
    part: np.ndarray  # "" for none
    truth: np.ndarray
    seen: np.ndarray  # 1, 0, or -1 where nothing is said


def matrix_import(
    table: RawTable, columns: Columns, set_name: str, labels: Mapping[str, str], keep: Sequence[str] = ()
) -> PreparedImport:
    """The rows of a table under a protocol made of its columns.

    Unseen is what `seen` (yes, no) or `split` (seen, unseen) says of a generator, or what has no column `p_<class>`
    where there are such; where nothing says it, all forged generators are. Real faces are in one group for each
    `source`. Rows of `split` train and validation are left out and counted.

    Raises:
        ConfigError: a cell that cannot be understood, or rows that contradict each other; says which.
    """
    if not _SET.fullmatch(set_name):
        raise ConfigError(f"--set {quoted(set_name)}: letters, digits, '-' and '_' only, at most 64")
    rows = len(table)
    flags, training = seen_flags(table, columns)
    if training.all():
        raise ConfigError(f"{table.path}: every row is of training or validation by its column split")
    table, flags = (table.kept_rows(~training), flags[~training]) if training.any() else (table, flags)
    probs, p_fake = answers(table, columns)
    parts = _parts_of(table, columns, flags, labels)
    protocol, faces, notes = _protocol_of(table, columns, parts, set_name)
    frame = prediction_frame(faces, probs, p_fake)
    kept = {name: table.texts(name) for name in keep}
    frame = with_kept_columns(frame, faces["sample_id"].to_numpy(), kept)
    counts = {str(key): int(n) for key, n in frame["group"].value_counts().sort_index().items()}
    digest = faces_hash(frame)
    leaks = ("exact_duplicates_train_test", "near_duplicates_train_test", "identity_overlap")
    manifest = ManifestFacts(
        set_name, digest, len(frame), {"test": SplitFacts(len(frame), digest, counts)}, dict.fromkeys(leaks)
    )
    left_out = {"rows of training or validation": int(training.sum())} if training.any() else {}
    lines = [f"{n:,} {why} are left out" for why, n in left_out.items()]
    return PreparedImport(
        protocol, manifest, frame, columns, "columns", rows, len(frame), left_out=left_out,
        deviations=(*notes, *lines), warnings=() if {"source_key", "video"} & columns.roles.keys() else (_OWN_SOURCES,),
    )  # fmt: skip


def _parts_of(table: RawTable, columns: Columns, flags: np.ndarray, labels: Mapping[str, str]) -> _Parts:
    """What each row says of its generator and label."""
    empty = np.full(len(table), "", dtype=object)
    named = table.texts(columns.roles["generator"]) if "generator" in columns.roles else empty
    sources = table.texts(columns.roles["source"]) if "source" in columns.roles else empty
    truth = detection_labels(table, columns, labels)
    if truth is None and "generator" not in columns.roles:
        raise ConfigError(f"{table.path}: needs a column label or generator; it has {listed(table.names)}")
    keys, parts, found = empty.copy(), empty.copy(), np.zeros(len(table), dtype=int)
    meant: dict[tuple[str, str, int | None], tuple[str, str, int]] = {}
    for place, (name, source) in enumerate(zip(named, sources, strict=True)):
        said = None if truth is None else int(truth[place])
        if (name, source, said) not in meant:
            meant[name, source, said] = _group_of(name, source, said, f"{table.path}: row {place + 1}")
        keys[place], parts[place], found[place] = meant[name, source, said]
    return _Parts(keys, parts, found, flags)


def _group_of(name: str, source: str, said: int | None, where: str) -> tuple[str, str, int]:
    """Generator key, part and detection label of a row; the taxonomy's rows where it knows the name."""
    known = taxonomy()[name] if name and name in taxonomy() else None
    label = said if said is not None else known.detection_label if known else FAKE if name else None
    if label not in (REAL, FAKE):
        raise ConfigError(f"{where}: no label, and the generator {quoted(name)} tells none")
    if label == REAL:
        if known is not None and known.detection_label == FAKE:
            raise ConfigError(f"{where}: labelled real, and {quoted(name)} is a generator of forged faces")
        if known is not None and known.key != REAL_KEY:
            return known.key, "", REAL  # a processed real face
        return REAL_KEY, _part_name(source or ("" if known else name), where), REAL
    if known is not None and known.key == REAL_KEY:
        raise ConfigError(f"{where}: labelled fake, and its generator is {quoted(name)}")
    if known is not None and known.detection_label == FAKE and known.key != FAKE_KEY:
        return known.key, "", FAKE
    return FAKE_KEY, _part_name("" if known and known.key == FAKE_KEY else name, where), FAKE


def _part_name(text: str, where: str) -> str:
    """A name as part of a group's key, in which `/` divides."""
    if not text.isprintable() or len(text) > 120:
        raise ConfigError(f"{where}: {quoted(text)} cannot name a group: printable, at most 120 characters")
    return text.replace("/", "_")


def _protocol_of(
    table: RawTable, columns: Columns, parts: _Parts, set_name: str
) -> tuple[Protocol, pd.DataFrame, list[str]]:
    """The protocol, the faces (n rows, in the table's order) and what it departs from."""
    raw = pd.DataFrame({"generator": parts.generator, "part": parts.part, "truth": parts.truth, "seen": parts.seen})
    named = _named_parts(raw)
    said = _seen_of(named, table)
    notes = [] if columns.classes or (named["seen"] >= 0).any() else [_UNKNOWN_SEEN]
    if columns.classes:
        seen, named = _classes(columns, named, said, set_name, table)
    else:
        seen = [pair for pair, flag in said.items() if flag == 1 or (flag == -1 and _is_real(pair, named))]
        seen = seen or [pair for pair in said if _is_real(pair, named)]
        if not seen:
            raise ConfigError(f"{table.path}: no real faces, and no generator is said to be seen: nothing to compare")
    if processed := [key for key, _ in seen if key in taxonomy().processed]:
        raise ConfigError(
            f"{table.path}: {quoted(processed[0])}: processed real faces are no class of attribution and never seen;"
            " say so of them, or nothing"
        )
    pairs = list(dict.fromkeys(zip(named["generator"], named["part"], strict=True)))
    rest = sorted(pair for pair in pairs if pair not in seen)
    protocol = Protocol(
        set_name, 1, f"Imported predictions: {set_name}",
        seen=tuple(_group(pair, set_name, label) for label, pair in enumerate(seen)),
        unseen=tuple(_group(pair, set_name, UNSEEN) for pair in rest),
        on_short="warn", notes=(_NOTE,),
    )  # fmt: skip
    groups = {(g.generator, g.source or ""): g for g in protocol.groups}
    own = [groups[pair] for pair in zip(named["generator"], named["part"], strict=True)]
    faces = _named_faces(table, columns)
    faces["group"] = [group.key for group in own]
    faces["attribution_label"] = [group.label for group in own]
    faces["detection_label"] = named["truth"].to_numpy()
    return protocol, faces, notes


def _named_parts(raw: pd.DataFrame) -> pd.DataFrame:
    """Rows whose generator has named and unnamed parts get the part "unnamed": a group is no part of another."""
    named = raw.copy()
    for key, rows in raw.groupby("generator", sort=False):
        if (rows["part"] == "").any() and (rows["part"] != "").any():
            named.loc[(raw["generator"] == key) & (raw["part"] == ""), "part"] = "unnamed"
    return named


def _seen_of(named: pd.DataFrame, table: RawTable) -> dict[tuple[str, str], int]:
    """Of each generator and part 1 (seen), 0 (unseen) or -1 (not said), sorted.

    Raises:
        ConfigError: some rows of one say seen, others unseen.
    """
    found: dict[tuple[str, str], int] = {}
    for (key, part), flags in named.groupby(["generator", "part"], sort=True)["seen"]:
        pair, said = (str(key), str(part)), set(flags) - {-1}
        if len(said) > 1:
            raise ConfigError(f"{table.path}: {':'.join(filter(None, pair))} is seen in some rows, unseen in others")
        found[pair] = said.pop() if said else -1
    return found


def _is_real(pair: tuple[str, str], named: pd.DataFrame) -> bool:
    rows = (named["generator"] == pair[0]) & (named["part"] == pair[1])
    return pair[0] not in taxonomy().processed and bool((named.loc[rows, "truth"] == REAL).all())


def _classes(
    columns: Columns, named: pd.DataFrame, said: Mapping[tuple[str, str], int], set_name: str, table: RawTable
) -> tuple[list[tuple[str, str]], pd.DataFrame]:
    """The seen generator of each class, in the columns' order; real faces that are not called unseen are one class."""
    named = named.copy()
    real = named["generator"] == REAL_KEY
    outside = real & (named["seen"] == 0)
    others = bool(outside.any())
    if any(name.casefold() == REAL_KEY for name in columns.classes):
        named.loc[outside & (named["part"] == ""), "part"] = "unseen"
        named.loc[real & ~outside, "part"] = "seen" if others else ""
    seen: list[tuple[str, str]] = []
    for name, column in columns.classes.items():
        where = f"{table.path}: column {quoted(column)}"
        key, part, _ = _group_of(name, "", REAL if name.casefold() == REAL_KEY else None, where)
        pair = (key, ("seen" if others else "") if key == REAL_KEY else part)
        if said.get(pair) == 0:
            raise ConfigError(f"{where} is a class of the model, and the table calls it unseen")
        if pair in seen:
            raise ConfigError(f"{where} names the generator {key} a second time")
        seen.append(pair)
    if strays := [pair for pair, flag in said.items() if flag == 1 and pair not in seen and pair[0] != REAL_KEY]:
        name = ":".join(filter(None, strays[0]))
        raise ConfigError(f"{table.path}: {quoted(name)} is said to be seen, and has no column of probabilities")
    return seen, named


def _group(pair: tuple[str, str], set_name: str, label: int) -> Group:
    """A group of the protocol; unseen real faces are no unseen generator, so they are in no average."""
    key, part = pair
    in_average = label != UNSEEN or taxonomy()[key].detection_label == FAKE
    return Group(key, set_name, label, in_average=in_average, source=part or None)


def _named_faces(table: RawTable, columns: Columns) -> pd.DataFrame:
    """Names, sources and videos of the rows."""
    roles = columns.roles
    column = roles.get("sample_id", roles.get("file", ""))
    names = np.array([plain_path(text) for text in table.texts(column)], dtype=object)
    if (names == "").any():
        raise ConfigError(f"{table.path}: row {int(np.flatnonzero(names == '')[0]) + 1}: no name of the face")
    names = names if "sample_id" in roles else names_with_frames(table, columns, names)
    refuse_doubles(names, str(table.path))
    faces = pd.DataFrame({"sample_id": names})
    video = table.texts(roles["video"]) if "video" in roles else None
    keys = table.texts(roles["source_key"]) if "source_key" in roles else np.full(len(names), "", dtype=object)
    keys = np.where(keys == "", video, keys) if video is not None else keys
    faces["source_key"] = np.where(keys == "", names, keys)
    if video is not None:
        faces["video"] = [text or None for text in video]
    return faces
