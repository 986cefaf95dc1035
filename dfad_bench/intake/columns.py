"""Which column of a table serves as what, and what the cells of those columns say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.label_names import column_answer, is_bare, unnamed_label
from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.settings import Heads
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.intake.settings import ImportSettings
from dfad_bench.intake.table import RawTable

ROLES = (
    "file", "sample_id", "label", "generator", "source", "source_key", "split", "seen", "video", "frame", "p_fake",
)  # fmt: skip
PROBABILITY = "p_"  # how columns of classes begin
_TEST = ("", "test", "testing", "eval", "evaluation")
_SPLITS = {"seen": True, "unseen": False}
_TRAINING = ("train", "training", "val", "valid", "validation", "dev")
_SEEN = {"seen": True, "yes": True, "true": True, "unseen": False, "no": False, "false": False}
_SUM = 1e-3  # how far class probabilities may be from one in sum


@dataclass(frozen=True)
class Columns:
    """The column of each role, of each class (by what stands behind `p_`), and which answers they hold."""

    roles: Mapping[str, str]
    classes: Mapping[str, str]
    heads: Heads

    @property
    def names(self) -> dict[str, str]:
        """Every column that is read, by role."""
        return {**self.roles, **{f"{PROBABILITY}{name}": column for name, column in self.classes.items()}}


def resolve_columns(table: RawTable, settings: ImportSettings) -> Columns:
    """The column of each role: as asked, else the one of its name.

    Raises:
        ConfigError: an unknown role or column, or no column of answers.
    """
    where, names = table.path, table.names
    for role, column in settings.columns.items():
        if role not in ROLES and not role.startswith(PROBABILITY):
            near = get_close_matches(role, ROLES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"--columns {quoted(role)}: no such role{hint} Known: {', '.join(ROLES)}, p_<class>")
        if column not in names:
            raise ConfigError(f"{where}: no column {quoted(column)}; it has {listed(names)}")
    if absent := [name for name in settings.keep if name not in names]:
        raise ConfigError(f"{where}: --keep {quoted(absent[0])}: no such column; it has {listed(names)}")
    roles = {role: settings.columns.get(role, role) for role in ROLES if role in settings.columns or role in names}
    asked = {role: column for role, column in settings.columns.items() if role not in ROLES}
    taken = {*roles.values(), *asked.values()}
    asked |= {name: name for name in names if name.startswith(PROBABILITY) and name not in taken}
    classes = {role.removeprefix(PROBABILITY): column for role, column in asked.items()}
    if settings.heads == "detection":
        classes = {}
    if settings.heads == "attribution":
        roles.pop("p_fake", None)
    found: Heads | None = "both" if classes and "p_fake" in roles else "attribution" if classes else None
    heads = found or ("detection" if "p_fake" in roles else None)
    if heads is None or (settings.heads is not None and heads != settings.heads):
        needed = {"attribution": "columns p_<class>", "detection": "a column p_fake"}.get(settings.heads or "")
        needed = needed or "a column p_fake, or columns p_<class>"
        raise ConfigError(f"{where}: needs {needed}; it has {listed(names)} (--columns p_fake=NAME says which it is)")
    if "file" not in roles and "sample_id" not in roles:
        raise ConfigError(f"{where}: needs a column file or sample_id; it has {listed(names)} (--columns file=NAME)")
    return Columns(roles, classes, heads)


def with_rows_asked_for(table: RawTable, only: Mapping[str, str]) -> tuple[RawTable, int]:
    """The rows that have the values asked for, and how many have not.

    Raises:
        ConfigError: no such column, or no row is left.
    """
    mask = np.ones(len(table), dtype=bool)
    for column, value in only.items():
        if column not in table.names:
            raise ConfigError(f"{table.path}: --only {column}: no such column; it has {listed(table.names)}")
        mask &= table.texts(column) == value
        if not mask.any():
            raise ConfigError(f"{table.path}: no row with {quoted(value)} in column {quoted(column)}")
    return (table if mask.all() else table.kept_rows(mask)), int((~mask).sum())


def answers(table: RawTable, columns: Columns) -> tuple[np.ndarray, np.ndarray | None]:
    """The class probabilities (n, x), x 0 where there are none, and the probability of being forged (n,) or None.

    Raises:
        ConfigError: a value that is no probability, or a row whose classes do not sum to one.
    """
    probs = np.zeros((len(table), len(columns.classes)))
    for place, name in enumerate(columns.classes.values()):
        probs[:, place] = table.probabilities(name)
    odd = np.flatnonzero(np.abs(probs.sum(axis=1) - 1) > _SUM)
    if columns.classes and len(odd):
        place = int(odd[0])
        raise ConfigError(
            f"{table.path}: row {place + 1}: the classes {listed(columns.classes.values(), 4)} sum to"
            f" {probs[place].sum():.6g}, not 1 ({len(odd):,} rows)"
        )
    return probs, table.probabilities(columns.roles["p_fake"]) if "p_fake" in columns.roles else None


def names_with_frames(table: RawTable, columns: Columns, names: np.ndarray) -> np.ndarray:
    """Names of files (n,), `file#frame` where a column says which frame of a video a row is."""
    if "frame" not in columns.roles:
        return names
    frames = [text.removesuffix(".0") for text in table.texts(columns.roles["frame"])]
    return np.array([f"{n}#{f}" if f else n for n, f in zip(names, frames, strict=True)], dtype=object)


def detection_labels(table: RawTable, columns: Columns, said: Mapping[str, str]) -> np.ndarray | None:
    """0 (real) or 1 (forged) of each row (n,) by the names of labels; None where there is no column of labels.

    Raises:
        ConfigError: a number without a name, or a name that is neither real nor fake.
    """
    if "label" not in columns.roles:
        return None
    column = columns.roles["label"]
    texts = table.texts(column)
    meant: dict[str, int] = {}
    for text in dict.fromkeys(texts):
        row = int(np.flatnonzero(texts == text)[0]) + 1
        meant[text] = _label_of(text, column, said, f"{table.path}: row {row}, column {quoted(column)}")
    return np.array([meant[text] for text in texts], dtype=int)


def _label_of(text: str, column: str, said: Mapping[str, str], where: str) -> int:
    plain = text.removesuffix(".0")
    name = said.get(text, said.get(plain, said.get(text.casefold()))) or column_answer(column, plain)
    if name is None and is_bare(text):
        raise ConfigError(unnamed_label(where, text))
    name = text if name is None else name
    known = taxonomy()[name].detection_label if name and name in taxonomy() else None
    if known not in (REAL, FAKE):
        raise ConfigError(f"{where}: {quoted(name)} is neither real nor fake; --labels {text or 'VALUE'}=fake says")
    return known


def seen_flags(table: RawTable, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Of each row (n,) whether the file calls it seen (1), unseen (0) or neither (-1); and which rows are no test rows.

    Raises:
        ConfigError: a word that is none of those.
    """
    flags, training = np.full(len(table), -1), np.zeros(len(table), dtype=bool)
    for role in ("split", "seen"):  # what `seen` says counts for more
        if role not in columns.roles:
            continue
        texts = np.array([text.casefold() for text in table.texts(columns.roles[role])], dtype=object)
        known: dict[str, int] = {text: int(flag) for text, flag in (_SPLITS if role == "split" else _SEEN).items()}
        passed = (*_TEST, *_TRAINING) if role == "split" else ("",)
        if strange := [text for text in dict.fromkeys(texts) if text not in known and text not in passed]:
            allowed = ", ".join([*known, *(text for text in passed if text)])
            raise ConfigError(
                f"{table.path}: column {quoted(columns.roles[role])}: {quoted(strange[0])} is none of {allowed}"
            )
        said = np.array([known.get(text, -1) for text in texts])
        flags = np.where(said >= 0, said, flags)
        training |= np.isin(texts, _TRAINING) if role == "split" else False
    return flags, training
