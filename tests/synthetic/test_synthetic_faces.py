"""A face detector takes the drawings for faces, and nothing trivial tells the groups apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import synthetic_tree, synthetic_truth

from dfad_bench.synthetic.faces import draw_face
from dfad_bench.synthetic.layout import planned_paths

LEAST_PROBABILITY = 0.9


def detected(paths: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the best face (0 for none) and height of its box in pixels, a row a path."""
    from facenet_pytorch import MTCNN
    from PIL import Image

    detector = MTCNN(min_face_size=64)
    rows = []
    for path in paths:
        boxes, probabilities = detector.detect(Image.fromarray(draw_face(seed, path)[0]))
        box = np.zeros(4) if boxes is None else np.asarray(boxes, float)[0]
        rows.append((0.0 if boxes is None else float(probabilities[0]), box[3] - box[1]))
    table = np.array(rows)
    return table[:, 0], table[:, 1]


@pytest.mark.heavy
def test_a_detector_finds_the_faces_of_every_group() -> None:
    paths = planned_paths(per_group=4)
    probability, height = detected(paths, seed=0)
    assert len(paths) == 44
    assert (probability >= LEAST_PROBABILITY).mean() >= 0.97
    assert 185 <= np.median(height) <= 230


@pytest.mark.slow
def test_a_detector_finds_99_percent() -> None:
    paths = planned_paths(per_group=48)
    probability, height = detected(paths, seed=1)
    assert len(paths) >= 400
    assert (probability >= LEAST_PROBABILITY).mean() >= 0.99
    found = height[probability > 0]
    assert np.percentile(found, 1) >= 180
    assert np.percentile(found, 99) <= 235


@pytest.mark.heavy
def test_size_and_brightness_do_not_give_a_generator_away(tmp_path: Path) -> None:
    from PIL import Image

    tree = synthetic_tree(tmp_path / "faces", per_group=6)
    truth = synthetic_truth(tree)
    facts = pd.DataFrame(
        {
            "generator": truth["generator"],
            "bytes": [(tree / path).stat().st_size for path in truth["path"]],
            "grey": [np.asarray(Image.open(tree / path)).mean() for path in truth["path"]],
        }
    )
    for fact in ("bytes", "grey"):
        table = facts.groupby("generator")[fact].agg(["mean", "std"])
        real = table.loc["real-studio"]
        assert ((table["mean"] - real["mean"]).abs() < 2.5 * np.hypot(table["std"], real["std"])).all(), fact
