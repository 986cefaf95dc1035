"""What an import of predictions is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dfad_bench.core import bounds
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.settings import Heads, check_settings, documented, option

LIMIT = 0.05  # share of rows, or of test faces, that may stay without the other


@documented
@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """How a table of predictions becomes a run."""

    protocol: str | Protocol | None = field(
        default=None,
        metadata=option(
            "Match rows with the test faces of this protocol, a name or a file (with --manifest); without, the"
            " protocol is made of the table's columns.",
            names="protocol",
        ),
    )
    columns: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option("Which column serves as what, as in p_fake=score; repeatable.", metavar="ROLE=COLUMN"),
    )
    layout: Literal["table", "dfwb", "deepsafe"] = field(
        default="table",
        metadata=option(
            "Whose layout the file has: dfwb is a score file of deepfake-workbench (.scores.csv), deepsafe the"
            " prediction matrix of deepsafe-bench (.csv.gz)."
        ),
    )
    models: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "A column of p_fake of each of several models: each becomes a run in --out.", metavar="COLUMN,..."
        ),
    )
    model_column: str | None = field(
        default=None,
        metadata=option(
            "The column that names the model of a row: each model becomes a run in --out.", metavar="COLUMN"
        ),
    )
    only: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option("Rows with this value in this column only; repeatable.", metavar="COLUMN=VALUE"),
    )
    keep: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Columns that stay with the predictions, for `dfad scores --by`; names with commas.", metavar="COLUMN,..."
        ),
    )
    labels: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option("What a label of the table means, as in 0=real,1=fake.", metavar="VALUE=NAME"),
    )
    heads: Heads | None = field(
        default=None, metadata=option("Which answers are read.  [default: those the table has columns of]")
    )
    name: str | None = field(
        default=None, metadata=option("What boards call the model.  [default: the name of the file]", flag="--name")
    )
    set_name: str = field(
        default="imported",
        metadata=option(
            "Without --protocol: what the faces are called; models that are compared need the same name.", flag="--set"
        ),
    )
    max_unmatched: float = field(
        default=LIMIT,
        metadata=option("Largest share of rows that may be no test face of the protocol.", least=0.0, most=1.0),
    )
    max_missing: float = field(
        default=LIMIT,
        metadata=option("Largest share of test faces that may lack a row.", least=0.0, most=1.0),
    )
    allow_partial: bool = field(
        default=False, metadata=option("Go on with missing or short groups of the protocol; the record says so.")
    )
    model_card: Path | None = field(
        default=None, metadata=option("YAML with what is known of the model: name, trained_on, seed, ...")
    )

    def __post_init__(self) -> None:
        check_settings(self)


@documented
@dataclass(frozen=True, kw_only=True)
class CallableSettings:
    """How a function of one's own is asked for the test faces of a protocol."""

    protocol: str | Protocol = field(metadata=option("Whose test faces are asked for.", names="protocol"))
    images: Literal["uint8", "float"] = field(
        default="uint8",
        metadata=option(
            "With --callable: images of 0 to 255 as uint8, or of 0 to 1 as float32; RGB, (n, side, side, 3)."
        ),
    )
    batch_size: int = field(default=32, metadata=option("With --callable: faces a call.", least=1, most=bounds.BATCH))
    name: str | None = field(
        default=None, metadata=option("With --callable: what boards call the model.  [default: the function's name]")
    )
    model_card: Path | None = field(
        default=None,
        metadata=option("With --callable: YAML with what is known of the model: name, trained_on, seed, ..."),
    )
    allow_partial: bool = field(
        default=False, metadata=option("Go on with missing or short groups of the protocol; the record says so.")
    )

    def __post_init__(self) -> None:
        check_settings(self)
