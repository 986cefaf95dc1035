"""ONNX files are opened up to the size that one file can have, not to the smaller default."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfad_bench.core import onnx_file
from dfad_bench.core.errors import WeightsError
from dfad_bench.sharing.weight_check import check_content

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(("size", "words"), [(onnx_file.LARGEST_FILE + 1, "larger than 2048 MB"), (8, "not readable")])
def test_the_bound_is_that_of_one_file(size: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with path.open("wb") as file:
        file.truncate(size)  # a hole, which takes no room
    with pytest.raises(WeightsError, match=words):
        check_content(path)
