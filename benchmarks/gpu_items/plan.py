"""All items, the most telling first, and the kinds in the order of the page."""

from __future__ import annotations

from dfad_bench.core.registry import model_names
from gpu_items import exactness, loading, models, speeds, teams
from gpu_items.item import Item, Kind

MAIN = ("xception", "clip", "gazeclip")
KINDS: tuple[Kind, ...] = (
    speeds.FACTS, models.VERDICT, models.STEP, loading.EPOCH_KIND, loading.CACHE_KIND, exactness.AGREEMENT,
    exactness.RESUME, exactness.LITERAL, teams.KIND, speeds.DETECTION, speeds.GAZE, speeds.CORRUPTION,
    models.COMPILED, speeds.ONNX,
)  # fmt: skip


def all_items() -> list[Item]:
    """Every item: first what says whether the code is right there, then how fast it is."""
    others = [name for name in model_names() if name not in MAIN]
    return [
        speeds.facts_item(),
        *(models.verdict_item(name) for name in (*MAIN, *others)),
        *(models.step_item(name) for name in MAIN),
        exactness.resume_item(),
        *(loading.epoch_item(name) for name in MAIN),
        loading.cache_item(),
        *(exactness.agreement_item(name) for name in ("xception", "gazeclip")),
        exactness.literal_item("fp32"),
        exactness.literal_item("bf16"),
        teams.team_item("gloo"),
        teams.team_item("nccl"),
        *(models.step_item(name) for name in others),
        speeds.detection_item(),
        *(speeds.gaze_item(name) for name in speeds.GAZE_NETWORKS),
        speeds.corruption_item(),
        speeds.onnx_item(),
        *(models.compiled_item(name) for name in (*MAIN, *others)),
    ]
