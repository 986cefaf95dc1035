"""Scores for "unseen": how much a face looks like the seen classes, larger being more like them.

A score is a function of the arrays that its parameters name, and one line in `UNSEEN_SCORES`. The papers' is `msp`.
"""

from __future__ import annotations

from dfad_bench.metrics.unseen.entry import ARRAYS, UndefinedScoreError, UnseenScore

__all__ = ["ARRAYS", "UNSEEN_SCORES", "UndefinedScoreError", "UnseenScore"]

_HERE = "dfad_bench.metrics.unseen"

UNSEEN_SCORES: dict[str, UnseenScore] = {
    "msp": UnseenScore(
        f"{_HERE}.of_outputs:largest_probability", "largest probability", "Hendrycks and Gimpel, ICLR 2017"
    ),
    "max_logit": UnseenScore(f"{_HERE}.of_outputs:largest_logit", "largest logit", "Hendrycks et al., ICML 2022"),
    "energy": UnseenScore(f"{_HERE}.of_outputs:energy", "energy, T = 1", "Liu et al., NeurIPS 2020"),
    "entropy": UnseenScore(f"{_HERE}.of_outputs:negative_entropy", "entropy", "Hendrycks and Gimpel, ICLR 2017"),
    "margin": UnseenScore(f"{_HERE}.of_outputs:probability_margin", "margin of two classes", "Scheffer et al., 2001"),
    "knn": UnseenScore(
        f"{_HERE}.of_embeddings:neighbour_similarity", "nearest neighbours", "Sun et al., ICML 2022",
        note=f"{_HERE}.of_embeddings:neighbour_note",
    ),
    "mahalanobis": UnseenScore(
        f"{_HERE}.of_embeddings:mahalanobis_similarity", "Mahalanobis, shrunk", "Lee et al., NeurIPS 2018"
    ),
    "vim": UnseenScore(
        f"{_HERE}.virtual_logit:virtual_logit_score", "ViM", "Wang et al., CVPR 2022",
        note=f"{_HERE}.virtual_logit:dimension_note",
    ),
}  # fmt: skip
