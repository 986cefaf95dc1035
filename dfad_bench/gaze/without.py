"""Why no face of a manifest has a gaze, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.core.errors import cut
from dfad_bench.core.escape import one_line

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest


def why_no_gaze(manifest: Manifest, gaze: pd.DataFrame, estimator: str) -> str | None:
    """One line where there are faces and none of them has a gaze; None otherwise.

    Args:
        manifest: the faces.
        gaze: their table by the estimator.
        estimator: its name.
    """
    if gaze.empty or np.isfinite(gaze["yaw_rad"].to_numpy(dtype=np.float64)).any():
        return None
    none = f"{manifest.name}: none of {len(gaze):,} faces has a gaze by {estimator}"
    ways = "or use an estimator that takes whole crops, such as eth_xgaze or l2cs (`dfad list estimators`)"
    if manifest.frame(["landmarks"])["landmarks"].notna().any():
        look = "look at the crops (`dfad check-manifest --contact-sheet`)"
        return f"{none}: no head pose fits their landmarks; {look}, {ways}"
    crop = manifest.info.get("crop")
    about = crop if isinstance(crop, dict) else {}
    profile = one_line(cut(str(about.get("name", "its own")), 80))
    if about.get("detector", "none") != "none":
        look = "look at the crops (`dfad check-manifest --contact-sheet`)"
        return f"{none}: crop profile {profile} found no landmarks on any of them; {look}, {ways}"
    build = (
        "build the manifest with a profile that does (--crop crops-256-landmarks for pictures that are crops already,"
        " --crop face-256-1.3 for whole ones)"
    )
    return f"{none}: they have no landmarks, since crop profile {profile} does not look for any; {build}, {ways}"
