"""KL alignment of an image embedding's prediction with the text embedding (`kl` of MFCLIP and BMRL)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def kl_alignment(prediction: Tensor, text: Tensor, *, temperature: float = 20.0, alpha: float = 0.5) -> Tensor:
    """Weighted alpha * T^2 * KL(softmax(text / T) || softmax(prediction / T)), mean over the batch.

    Args:
        prediction: (B, d) from the image side.
        text: (B, d); not detached, as in the papers' training.
        temperature: T, softens both distributions.
        alpha: weight of the term.
    """
    log_p = (prediction.float() / temperature).log_softmax(dim=-1)
    log_q = (text.float() / temperature).log_softmax(dim=-1)
    return alpha * temperature**2 * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
