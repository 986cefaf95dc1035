"""The rows of the paper's ablation tables as settings.

Any row can be trained as `--model gazeclip --set variant=NAME`, any single setting as `--set gi_query=patch`.
Table V (gaze estimators) is chosen by `--estimator`; Table IX's CLIP rows are `--model clip`, with AWS by
`--set aws_pos=before`.
"""

from __future__ import annotations

from typing import Any

from dfad_bench.core.variants import Variant, variant_settings

VARIANTS: dict[str, Variant] = {
    "full": Variant("II to XIII", "GazeCLIP"),
    "aws_before": Variant("IV", "AWS before MHA and FF", {"aws_pos": "before"}),
    "aws_between": Variant("IV", "AWS between MHA and FF", {"aws_pos": "between"}),
    "aws_after": Variant("IV", "AWS after MHA and FF", {"aws_pos": "after"}),
    # Table VI's ticks are recovered from the gains its text states
    "agpm": Variant("VI", "AGPM", {"use_gaze": False, "use_gie": False, "use_lre": False}),
    "agpm_ge": Variant("VI", "AGPM + GE", {"use_gie": False, "use_lre": False}),
    "ge_gie_lre": Variant("VI", "GE + GIE + LRE", {"use_agpm": False}),
    "agpm_ge_gie": Variant("VI", "AGPM + GE + GIE", {"use_lre": False}),
    "agpm_ge_lre": Variant("VI", "AGPM + GE + LRE", {"use_gie": False}),
    "no_aws": Variant("IX", "Ours w/o AWS", {"aws_pos": "none"}),
    "query_patch": Variant("X", "Query w/patch", {"gi_query": "patch"}),
    "query_all": Variant("X", "Query w/all", {"gi_query": "all"}),
    "query_cls": Variant("X", "Query w/cls", {"gi_query": "cls"}),
    "levels_1": Variant("XI", "L1", {"levels": 1}),
    "levels_2": Variant("XI", "L1+L2", {"levels": 2}),
    "levels_3": Variant("XI", "L1+L2+L3", {"levels": 3}),
    "levels_4_context": Variant("XI", "L1+L2+L3+L4+LP", {"context": 16}),
    "lora_1_1": Variant("XII", "GIE 1, LRE 1", {"lora_gie": 1, "lora_lre": 1}),
    "lora_2_1": Variant("XII", "GIE 2, LRE 1", {"lora_gie": 2, "lora_lre": 1}),
    "lora_3_1": Variant("XII", "GIE 3, LRE 1", {"lora_gie": 3, "lora_lre": 1}),
    "lora_4_1": Variant("XII", "GIE 4, LRE 1", {"lora_gie": 4, "lora_lre": 1}),
    "lora_3_2": Variant("XII", "GIE 3, LRE 2", {"lora_gie": 3, "lora_lre": 2}),
    "no_gi": Variant("XIII", "Ours w/o GI", {"use_gi": False}),
    "finetuned_ge": Variant("XIII", "Ours w/ finetuned GE", {"gaze_encoder": "finetuned"}),
    "no_gaze": Variant("XIII", "Ours w/o Gaze", {"use_gaze": False}),
}


def overrides_of(name: str) -> dict[str, Any]:
    """The settings of an ablation row.

    Raises:
        UnknownNameError: no such row; the nearest are offered.
    """
    return variant_settings("gazeclip", name, VARIANTS)
