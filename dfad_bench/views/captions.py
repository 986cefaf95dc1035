"""Captions as a view: a text a face, from a table that any captioning model wrote, or one constant in their place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.files import sha256_file
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views.base import Faces, View


@dataclass(frozen=True)
class CaptionSettings:
    """Where the captions are.

    Attributes:
        file: CSV (UTF-8, with a header) or Parquet, with the columns `sample_id` and `caption`.
        constant: the caption of every face where there is no file, a stand-in: it says nothing of the face.
    """

    file: str | None = None
    constant: str = "a photo of a face"

    def __post_init__(self) -> None:
        if not self.constant.strip():
            raise ValueError("constant must be a text, got an empty one")


class Captions(View):
    """A caption a face; a face that is not in the table, or whose caption is empty, is absent."""

    name = "captions"
    meaning = "a sentence that describes the picture"
    kind = "text"
    dtype = "str"
    asks = ()
    Settings = CaptionSettings
    settings: CaptionSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._texts: dict[str, str] | None = None

    def shape(self, side: int) -> tuple[int, ...]:
        return ()

    def public_settings(self) -> dict[str, Any]:
        return {} if self.settings.file is not None else {"constant": self.settings.constant}

    def substitute(self) -> str:
        if self.settings.file is not None:
            return ""
        return f"every face has the caption {quoted(self.settings.constant)}, a stand-in (--view captions.file=FILE)"

    def files(self) -> str:
        if self.settings.file is None:
            return ""
        path = Path(self.settings.file)
        if not path.is_file():
            raise ConfigError(f"view captions: {path}: no such file")
        return sha256_file(path)

    def make(self, faces: Faces) -> ViewValues:
        if self.settings.file is None:
            return ViewValues((self.settings.constant,) * len(faces), np.ones(len(faces), bool))
        if self._texts is None:
            self._texts = read_captions(Path(self.settings.file))
        texts = tuple(self._texts.get(name, "") for name in faces.sample_ids)
        return ViewValues(texts, pd.Series(texts, dtype=object).ne("").to_numpy(dtype=bool))


def read_captions(path: Path) -> dict[str, str]:
    """Caption of each face in a CSV or Parquet table; white space around it is taken off.

    Raises:
        ConfigError: not such a table, a column is missing, or a face occurs twice.
    """
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:  # what pandas and Arrow raise on damaged files
        raise ConfigError(f"view captions: {path}: not readable as a table ({type(error).__name__})") from error
    if lacking := [name for name in ("sample_id", "caption") if name not in table.columns]:
        raise ConfigError(f"view captions: {path}: no column {lacking[0]!r}; it has {listed(table.columns)}")
    table = table[["sample_id", "caption"]].dropna()
    if bad := [name for name in table.columns if not table[name].map(lambda value: isinstance(value, str)).all()]:
        raise ConfigError(f"view captions: {path}: column {bad[0]!r} must hold texts")
    twice = table.loc[table["sample_id"].duplicated(), "sample_id"]
    if len(twice):
        raise ConfigError(f"view captions: {path}: face {twice.iloc[0]} occurs twice")
    return {name: caption.strip() for name, caption in table.itertuples(index=False)}
