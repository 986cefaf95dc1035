"""What an attribution expert read and said of each face: embeddings and logits beside a run's predictions.

A row a face, in the order of the predictions it lies beside: `sample_id`, `group`, `source_key`, `attribution_label`,
logits `a_0 ... a_{x-1}` and `d_0`, `d_1` in float32, `embedding` as a list of d numbers, in float16 where they fit.
Probabilities lose a constant of the logits and all of the embedding, so scores that need these cannot be made without.
Read as from outside: types, lengths and missing values are checked before anything is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import atomic_path, check_hash, sha256_file
from dfad_bench.core.run_parquet import Kind, read_table

if TYPE_CHECKING:
    import numpy as np

PARTS = ("test", "validation", "training")
LEAST, MOST = 1e-2, 6e4  # largest magnitudes of an embedding that float16 holds to three digits
CELLS = 2**31  # numbers of all embeddings of a file
_ABOUT: Mapping[str, Kind] = {
    "sample_id": "text", "group": "text", "source_key": "text", "attribution_label": "whole",
    "d_0": "real", "d_1": "real",
}  # fmt: skip


@dataclass(frozen=True)
class Outputs:
    """Outputs of a model for n faces: (n,) names and labels, (n, x) and (n, 2) logits, (n, d) embeddings."""

    sample_id: np.ndarray
    group: np.ndarray
    source: np.ndarray
    label: np.ndarray
    logits: np.ndarray
    detection: np.ndarray
    embedding: np.ndarray

    def __len__(self) -> int:
        return len(self.sample_id)


@dataclass(frozen=True)
class LastLayer:
    """The linear layer from embeddings to attribution logits: weight (x, d), bias (x,)."""

    weight: np.ndarray
    bias: np.ndarray

    def explains(self, outputs: Outputs, tolerance: float) -> bool:
        """Whether logits are those of this layer, but for rounding by `tolerance` of each summand."""
        import numpy as np

        h, w = outputs.embedding.astype(np.float64), self.weight.astype(np.float64)
        if h.shape[1] != w.shape[1] or outputs.logits.shape[1] != len(w):
            return False
        allowed = tolerance * (np.abs(h) @ np.abs(w).T + np.abs(self.bias)) + 1e-6
        return bool((np.abs(h @ w.T + self.bias - outputs.logits) <= allowed).all())


def compact_embedding(embedding: np.ndarray) -> np.ndarray:
    """Embeddings (n, d) as float16 where that holds them, else as float32."""
    import numpy as np

    largest = float(np.abs(embedding).max(initial=0.0))
    return embedding.astype(np.float16 if LEAST < largest < MOST or largest == 0 else np.float32)


def write_outputs(path: Path, outputs: Outputs) -> str:
    """Write outputs as Parquet with page checksums; returns the file's hash."""
    import pyarrow as pa

    n, d = outputs.embedding.shape
    columns = {
        "sample_id": pa.array(outputs.sample_id.tolist(), pa.string()),
        "group": pa.array(outputs.group.tolist(), pa.string()),
        "source_key": pa.array(outputs.source.tolist(), pa.string()),
        "attribution_label": pa.array(outputs.label.astype("int16")),
    }
    columns |= {f"a_{k}": pa.array(outputs.logits[:, k].astype("float32")) for k in range(outputs.logits.shape[1])}
    columns |= {f"d_{k}": pa.array(outputs.detection[:, k].astype("float32")) for k in range(2)}
    flat = pa.array(outputs.embedding.reshape(n * d))
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, d)
    return _write(path, pa.table(columns))


def read_outputs(path: Path, sha256: str | None = None, *, embeddings: bool = True) -> Outputs:
    """The outputs of a part of a run.

    Args:
        path: the file.
        sha256: its hash in the record.
        embeddings: whether they are read; without, they are (n, 0).

    Raises:
        IntegrityError: damaged, changed, or no outputs.
    """
    import numpy as np

    if sha256 is not None:
        check_hash(path, sha256)
    numbers = _embeddings(path, read=embeddings)
    frame = read_table(path, _ABOUT, reals="a_", only=lambda name: name != "embedding")
    classes = [name for name in frame if str(name).startswith("a_")]
    if classes != [f"a_{k}" for k in range(len(classes))] or not classes:
        raise IntegrityError(f"{path}: no outputs of a model (logits are not a_0, a_1, ...)")
    logits, detection = frame[classes].to_numpy(np.float32), frame[["d_0", "d_1"]].to_numpy(np.float32)
    if not all(np.isfinite(values).all() for values in (numbers, logits, detection)):
        raise IntegrityError(f"{path}: outputs that are NaN or infinite")
    sample_id, group, source = (frame[name].to_numpy(dtype=str) for name in ("sample_id", "group", "source_key"))
    label = frame["attribution_label"].to_numpy(np.int64)
    return Outputs(sample_id, group, source, label, logits, detection, numbers)


def _embeddings(path: Path, *, read: bool) -> np.ndarray:
    """The embeddings (n, d) of a file, (n, 0) where they are not to be read; its form is checked in any case."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        kept, rows = file.schema_arrow.field("embedding").type, file.metadata.num_rows
        if not pa.types.is_fixed_size_list(kept) or not pa.types.is_floating(kept.value_type):
            raise ValueError("embedding must be lists of numbers, all of one length")
        if rows * kept.list_size > CELLS:
            raise ValueError("more embeddings than a run keeps")
        if not read:
            return np.zeros((rows, 0), dtype=np.float16)
        column = file.read(["embedding"]).column(0).combine_chunks()
        flat = column.flatten()
        if column.null_count or flat.null_count or len(flat) != rows * kept.list_size:
            raise ValueError("embedding lacks values")
        numbers: np.ndarray = flat.to_numpy(zero_copy_only=False).reshape(rows, kept.list_size)
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError) as error:
        raise IntegrityError(f"{path}: no outputs of a model ({str(error).splitlines()[0][:120]})") from error
    return numbers


def write_last_layer(path: Path, layer: LastLayer) -> str:
    """Write the last layer of an attribution expert, a row a class; returns the file's hash."""
    import pyarrow as pa

    classes, d = layer.weight.shape
    weight = pa.FixedSizeListArray.from_arrays(pa.array(layer.weight.astype("float32").reshape(-1)), d)
    return _write(path, pa.table({"bias": pa.array(layer.bias.astype("float32")), "weight": weight}))


def read_last_layer(path: Path, sha256: str | None = None) -> LastLayer:
    """The last layer of an attribution expert.

    Raises:
        IntegrityError: damaged, changed, or no layer.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if sha256 is not None:
        check_hash(path, sha256)
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(["bias", "weight"])
        bias = table.column("bias").to_numpy().astype(np.float64)
        column = table.column("weight").combine_chunks()
        weight = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(bias), -1)
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path}: no layer of a model ({str(error).splitlines()[0][:120]})") from error
    if not (np.isfinite(bias).all() and np.isfinite(weight).all()):
        raise IntegrityError(f"{path}: a layer with NaN or infinite weights")
    return LastLayer(weight, bias)


def require_outputs(path: Path, stated: Mapping[str, str], what: str) -> Path:
    """The path of a file of outputs that a record states, for `what` needs it.

    Raises:
        ConfigError: the run was made without.
    """
    if path.name not in stated or not path.is_file():
        how = "made before outputs were kept, or with --no-outputs; train it again"
        raise ConfigError(f"{path}: not there, and {what} needs it (the run was {how})")
    return path


def _write(path: Path, table: object) -> str:
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    return sha256_file(path)
