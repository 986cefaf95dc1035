"""Rows of a table as predictions of test faces, with what a record must state of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.imported import Matching
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ManifestFacts
from dfad_bench.intake.columns import Columns


@dataclass(frozen=True)
class PreparedImport:
    """Predictions, and all that is known of them but the model.

    Attributes:
        protocol: the test faces are of.
        manifest: facts of the faces.
        frame: predictions, as `core.run_parquet.PREDICTIONS`.
        columns: that were read.
        matched_by: how rows became test faces.
        rows: of the file.
        expected: test faces there are.
        unmatched: rows that are no test face.
        left_out: rows left out on purpose, by reason.
        deviations: from the protocol.
        warnings: what a reader must know besides.
        selection: the faces with `part` and `crop_sha256`; None where the table alone says what they are.
        refused: per group, faces the manifest could not crop.
        partial: whether groups are missing or short.
    """

    protocol: Protocol
    manifest: ManifestFacts
    frame: pd.DataFrame
    columns: Columns
    matched_by: Matching
    rows: int
    expected: int
    unmatched: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    selection: pd.DataFrame | None = None
    refused: dict[str, int] = field(default_factory=dict)
    partial: bool = False

    @property
    def missing_faces(self) -> int:
        """Test faces without a prediction."""
        return self.expected - len(self.frame)


def prediction_frame(faces: pd.DataFrame, probs: np.ndarray, p_fake: np.ndarray | None) -> pd.DataFrame:
    """Predictions of faces, sorted by their names.

    Args:
        faces: n rows with `sample_id`, `group`, `source_key`, both labels, perhaps `video`.
        probs: (n, x) class probabilities in the order of the protocol's labels; x 0 where there are none.
        p_fake: (n,) the probability of being forged; None where there is none.
    """
    names = ["sample_id", "group", "source_key", "attribution_label", "detection_label"]
    kinds = {"attribution_label": "int16", "detection_label": "int8"}
    made = faces[names].astype(kinds).reset_index(drop=True)
    if "video" in faces and faces["video"].notna().any():
        made["video"] = faces["video"].to_numpy(dtype=object)
    classes = pd.DataFrame({f"p_{k}": column for k, column in enumerate(probs.T)}, index=made.index)
    made = pd.concat([made, classes], axis=1)
    if p_fake is not None:
        made["p_fake"] = p_fake
    return made.sort_values("sample_id", kind="stable", ignore_index=True)


def with_kept_columns(frame: pd.DataFrame, names: np.ndarray, kept: dict[str, np.ndarray]) -> pd.DataFrame:
    """Predictions with further columns of the table, by the names of faces (m,) that its rows are of.

    Raises:
        ConfigError: a name that predictions use.
    """
    for column, texts in kept.items():
        if column in frame or column in ("corruption", "severity", "video") or column.startswith("p_"):
            raise ConfigError(f"--keep {column}: predictions have a column of that name; rename it in the table")
        frame = frame.assign(**{column: frame["sample_id"].map(dict(zip(names, texts, strict=True)))})
    return frame


def refuse_doubles(names: np.ndarray, where: str) -> None:
    """Refuse rows of one face: which of them counts, nobody says.

    Raises:
        ConfigError: names some.
    """
    some, counts = np.unique(names.astype(str), return_counts=True)
    if len(twice := some[counts > 1]):
        many = f"{len(twice):,} faces stand in several rows"
        raise ConfigError(f"{where}: {many}: {listed(twice, 3)}; --only chooses rows")
