"""The rows of BMRL's ablation tables as settings: `--model bmrl --set variant=NAME`.

Table 5 (face parsers) is chosen by the view (`--view parsing.folder=...`, named by `parsing.parser`), Table 7
(detection or attribution) by `--heads`. The CLIP rows of Tables 4, 9 and 10 are `--model clip --set centre_loss=...`.
"""

from __future__ import annotations

from dfad_bench.core.variants import Variant

_NO_TEXT = {"use_le": False}  # hence neither `cmc` nor `kl`
_NO_GUIDES = {"use_pe": False, "use_le": False}

VARIANTS: dict[str, Variant] = {
    "full": Variant("4 to 10", "BMRL"),
    "vcc": Variant("4", "Ours w/VCC", {"centre_loss": "vcc"}),
    # every row of Table 6 keeps the DFACC loss, as far as the text says
    "ae": Variant("6", "AE", {"use_ne": False, "use_ee": False, **_NO_GUIDES}),
    "ee": Variant("6", "EE", {"use_ae": False, "use_ne": False, **_NO_GUIDES}),
    "ne": Variant("6", "NE", {"use_ae": False, "use_ee": False, **_NO_GUIDES}),
    "ae_ne": Variant("6", "AE+NE", {"use_ee": False, **_NO_GUIDES}),
    "ae_ne_le": Variant("6", "AE+NE+LE", {"use_ee": False, "use_pe": False}),
    "ae_ne_pe_le": Variant("6", "AE+NE+PE+LE", {"use_ee": False}),
    "ae_ee": Variant("6", "AE+EE", {"use_ne": False, **_NO_GUIDES}),
    "ae_ne_ee": Variant("6", "AE+NE+EE", _NO_GUIDES),
    "ae_ne_ee_le": Variant("6", "AE+NE+EE+LE", {"use_pe": False}),
    "ae_ne_ee_pe": Variant("none", "AE+NE+EE+PE, which Table 6 leaves out", _NO_TEXT),
    "dfa": Variant("8", "L_dfa", {"centre_loss": "none", **_NO_GUIDES}),
    "dfa_dfacc": Variant("8", "L_dfa + L_dfacc", _NO_GUIDES),
    "dfa_dfacc_cmc": Variant("8", "L_dfa + L_dfacc + L_cmc", {"use_pe": False, "use_kl": False}),
    "dfa_dfacc_cmc_cpc": Variant("8", "L_dfa + L_dfacc + L_cmc + L_cpc", {"use_kl": False}),
    "margin_0.5": Variant("9", "Ours m=0.5", {"centre_margin": 0.5}),
    "margin_0.9": Variant("9", "Ours m=0.9", {"centre_margin": 0.9}),
    "lambda_0.0": Variant("10", "BMRL λ=0.0", {"centre_lambda": 0.0}),
    "lambda_0.3": Variant("10", "BMRL λ=0.3", {"centre_lambda": 0.3}),
    "lambda_0.7": Variant("10", "BMRL λ=0.7", {"centre_lambda": 0.7}),
}
