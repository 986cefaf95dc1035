"""Logits and embeddings of a run as files: what is written is read, what does not fit is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.run_outputs import (
    LastLayer,
    Outputs,
    compact_embedding,
    read_last_layer,
    read_outputs,
    require_outputs,
    write_last_layer,
    write_outputs,
)


def drawn_outputs(n: int = 12, x: int = 3, d: int = 5) -> Outputs:
    rng = np.random.default_rng(0)
    names = np.array([f"s{k}" for k in range(n)])
    embedding = compact_embedding(rng.normal(size=(n, d)))
    logits = rng.normal(size=(n, x)).astype("float32")
    return Outputs(
        names, names, names, np.arange(n) % x, logits, rng.normal(size=(n, 2)).astype("float32"), embedding
    )  # fmt: skip


def test_outputs_read_back_to_the_bit(tmp_path: Path) -> None:
    kept = drawn_outputs()
    digest = write_outputs(tmp_path / "o.parquet", kept)
    found = read_outputs(tmp_path / "o.parquet", digest)
    assert found.embedding.dtype == np.float16
    for name, values in vars(kept).items():
        assert np.array_equal(getattr(found, name), values), name


@pytest.mark.parametrize(("scale", "kind"), [(1.0, np.float16), (1e6, np.float32), (1e-5, np.float32), (0, np.float16)])
def test_embeddings_that_half_precision_cannot_hold_stay_in_single(scale: float, kind: type) -> None:
    embedding = np.full((2, 3), scale, dtype=np.float32)
    assert compact_embedding(embedding).dtype == kind
    assert np.allclose(compact_embedding(embedding), embedding, rtol=1e-3)


def broken(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pq.write_table(change(pq.read_table(path)), path)

    return write


LISTS = pa.array([[1.0]] * 12, pa.list_(pa.float32()))
WORDS = pa.FixedSizeListArray.from_arrays(pa.array(["a"] * 12), 1)
HOLES = pa.array([None] * 12, pa.list_(pa.float32(), 2))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (broken(lambda t: t.drop_columns(["embedding"])), "embedding"),
        (broken(lambda t: t.set_column(9, "embedding", LISTS)), "one length"),
        (broken(lambda t: t.set_column(9, "embedding", WORDS)), "one length"),
        (broken(lambda t: t.drop_columns(["embedding"]).append_column("embedding", HOLES)), "lacks values"),
        (broken(lambda t: t.drop_columns(["a_1"])), "logits are not"),
        (broken(lambda t: t.drop_columns(["a_0", "a_1", "a_2"])), "logits are not"),
        (broken(lambda t: t.drop_columns(["a_1"]).append_column("a_1", pa.array([np.nan] * 12))), "damaged|not|NaN"),
        (lambda path: path.write_bytes(b"PAR1" + path.read_bytes()[9:]), "no outputs"),
    ],
)
def test_what_is_no_outputs_is_refused(spoil: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    write_outputs(path, drawn_outputs())
    spoil(path)
    with pytest.raises(IntegrityError, match=says):
        read_outputs(path)


def test_a_layer_is_known_by_its_logits(tmp_path: Path) -> None:
    kept = drawn_outputs(40)
    weight, bias = np.arange(15.0).reshape(3, 5) / 7, np.array([0.5, 0, -2])
    logits = (kept.embedding.astype(float) @ weight.T + bias).astype("float32")
    linear = Outputs(*(logits if name == "logits" else values for name, values in vars(kept).items()))
    layer = LastLayer(weight, bias)
    digest = write_last_layer(tmp_path / "l.parquet", layer)
    assert read_last_layer(tmp_path / "l.parquet", digest).explains(linear, 1e-3)
    assert not layer.explains(kept, 1e-3)
    assert not LastLayer(weight[:, :4], bias).explains(linear, 1e-3)
    shifted = LastLayer(weight, bias + 0.1)
    assert not shifted.explains(linear, 1e-3)
    write_outputs(tmp_path / "o.parquet", kept)
    with pytest.raises(IntegrityError, match="no layer"):
        read_last_layer(tmp_path / "o.parquet")


def test_a_run_without_outputs_says_so_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="energy needs it .*train it again"):
        require_outputs(tmp_path / "outputs-test.parquet", {}, "energy")
