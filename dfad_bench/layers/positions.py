"""Position tables of released networks, for two tokens: the class token and one token of the image."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from dfad_bench.core.notices import add_notice

_USED = 2


def token_positions(table: Tensor, path: Path) -> Tensor:
    """(1, 2, d) of a released table.

    Args:
        table: (1, rows, d) by token, of which two are used; or (places, 1, d) by place in the batch, as CViT's first
            release and MFCLIP have it: there a face got the row of its place, added to each of its tokens. The first
            place's row is taken, which is what those networks compute for a face alone.
        path: where it is from, for the line that says so.
    """
    if table.ndim == 3 and table.shape[0] > 1 and table.shape[1] == 1:
        add_notice(
            f"{path.name}: positions are by place in the batch of {table.shape[0]}; the first is used for each token"
        )
        return table[:1].expand(1, _USED, -1).clone()
    return table[:, :_USED]
