"""The weight file of a view's network: found by its place, or known by its hash alone where values are stored."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from dfad_bench.core.errors import AbsentWeightsError, WeightsError
from dfad_bench.core.files import sha256_file
from dfad_bench.core.weights import find_weights, weight_files


class OwnWeights:
    """What the settings `weights` and `weights_sha256` of a view say (`DFADModel.view_weights` gives them).

    Args:
        view: name of the view, for messages.
        weights: name or path of the file; None where only its hash is known, or there is none.
        sha256: hash that the file must have; None: whatever it has.
    """

    def __init__(self, view: str, weights: str | None, sha256: str | None) -> None:
        self._view, self._weights, self._stated_sha256 = view, weights, sha256

    @cached_property
    def sha256(self) -> str | None:
        """Hash of the file; None: the network has random weights.

        Raises:
            WeightsError: the file is missing, or another one than the stated hash is of.
        """
        if self._weights is None:
            return self._stated_sha256
        path = find_weights(self._weights)
        found = sha256_file(path)
        if self._stated_sha256 not in (None, found):
            raise WeightsError(
                f"view {self._view}: {path} (sha256 {found[:8]}) is not the file it was made with before"
                f" ({str(self._stated_sha256)[:8]})"
            )
        return found

    def file(self) -> Path:
        """The file itself.

        Raises:
            WeightsError: it is needed, and not at hand.
        """
        sha256 = self.sha256
        if self._weights is not None:
            return find_weights(self._weights)
        for row in weight_files().values():
            if row.sha256 is not None and row.sha256 == sha256:
                return find_weights(row.name)
        raise AbsentWeightsError(
            f"view {self._view}: values that are not stored must be made, by the weight file of the run (sha256"
            f" {str(sha256)[:8]}); say where it is: --view {self._view}.weights=FILE"
        )
