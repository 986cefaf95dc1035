"""How far does the promise of a threshold fall where the same validation faces also chose the checkpoint?

Checkpoints are alike over the population: the strangeness of a face is normal under each, and a part of it is the same
under all (`shared`, a share of the variance). The one with the least mean strangeness of validation faces is chosen, a
threshold that is to keep 90 % of faces of new sources is made of the same faces, and the share kept under the chosen
checkpoint is counted: with all validation sources used twice, with one half of them to choose and the other to
calibrate, and with the last checkpoint, which nothing chose. "keeps all": below nine sources nothing can be rejected.

    python benchmarks/validation_twice.py --out benchmarks/results/validation_twice.json
"""

from __future__ import annotations

import sys
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from interval_coverage import parse_options, write_or_print

from dfad_bench.metrics.conformal import strangest_kept

LEVEL, FACES = 0.9, 3
SOURCES, CHECKPOINTS, SHARED = (10, 20, 40, 100), (5, 20, 50), (0.0, 0.5, 0.9)
WITHIN = 0.5  # share of the variance that faces of a source do not share


def kept_share(strangeness: np.ndarray, sources: np.ndarray) -> tuple[float, bool]:
    """The share of faces of new sources at or below the threshold of these, and whether anything could be rejected."""
    from scipy.special import ndtr

    at = strangest_kept(strangeness, sources, LEVEL)
    return float(ndtr(at)), isfinite(at)


def one_draw(sources: int, checkpoints: int, shared: float, rng: np.random.Generator) -> dict[str, tuple[float, bool]]:
    """What is kept under each way, of one draw of validation faces."""
    between = np.sqrt(shared) * rng.normal(size=(1, sources, FACES))
    own = (1 - shared) * (1 - WITHIN)
    source = np.sqrt(own) * rng.normal(size=(checkpoints, sources, 1))
    face = np.sqrt((1 - shared) * WITHIN) * rng.normal(size=(checkpoints, sources, FACES))
    s, names = between + source + face, np.repeat(np.arange(sources), FACES).reshape(sources, FACES)
    half = sources // 2
    chosen, by_half = int(s.mean(axis=(1, 2)).argmin()), int(s[:, :half].mean(axis=(1, 2)).argmin())
    return {
        "used twice": kept_share(s[chosen].ravel(), names.ravel()),
        "halves": kept_share(s[by_half, half:].ravel(), names[half:].ravel()),
        "last": kept_share(s[-1].ravel(), names.ravel()),
    }


def simulate(repeats: int) -> dict[str, Any]:
    """The mean share kept by each way, for numbers of sources and checkpoints."""
    rows = []
    for sources in SOURCES:
        for checkpoints in CHECKPOINTS:
            for shared in SHARED:
                rng = np.random.default_rng([sources, checkpoints, int(10 * shared)])
                draws = [one_draw(sources, checkpoints, shared, rng) for _ in range(repeats)]
                row: dict[str, Any] = {"sources": sources, "checkpoints": checkpoints, "shared": shared}
                for way in draws[0]:
                    row[way] = round(float(np.mean([one[way][0] for one in draws])), 4)
                    row[way] = row[way] if draws[0][way][1] else "keeps all"
                rows.append(row)
    return {
        "question": "how many seen faces are kept where validation faces chose the checkpoint and made the threshold?",
        "level": LEVEL, "faces_of_a_source": FACES, "repeats": repeats, "rows": rows,
    }  # fmt: skip


def main() -> int:
    """Run all cells and print or write what was found."""
    options = parse_options(__doc__, repeats=1000)
    write_or_print(simulate(options.repeats), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
