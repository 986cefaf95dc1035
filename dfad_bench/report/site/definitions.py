"""What the numbers and the columns of a board mean, in a sentence each; formula, range and trivial value of metrics."""

from __future__ import annotations

from dataclasses import dataclass

from dfad_bench.core.protocol import Protocol
from dfad_bench.metrics import METRICS
from dfad_bench.report.board_columns import column_metric, other_thresholds
from dfad_bench.report.table import Table


@dataclass(frozen=True)
class MetricText:
    """`trivial`: what a predictor that looks at no face reaches."""

    what: str
    formula: str
    trivial: str


_NAMED = "p_i: probabilities of face i over the K seen generators; c_i = max_k p_ik its confidence"
METRIC_TEXTS = {
    "seen_accuracy": MetricText(
        "Share of faces of seen generators that are given to the right one, whatever the confidence.",
        "mean over seen groups g of (1/n_g) Σ_i [argmax_k p_ik = g]",
        "1/K: always one class",
    ),
    "unseen_accuracy": MetricText(
        "Share of faces of unseen groups whose confidence is below the threshold t, so that they are called unseen.",
        "mean over unseen groups g of (1/n_g) Σ_i [c_i < t]",
        "100 %: never sure of anything; read it beside seen ACC and OSCR",
    ),
    "auroc": MetricText(
        "How well confidence tells faces of seen generators from those of unseen ones.",
        "P(c_seen > c_unseen) + P(c_seen = c_unseen)/2",
        "50 %: the same confidence always",
    ),
    "oscr": MetricText(
        "Open-set classification rate: seen faces that are kept and named rightly, over all shares of unseen faces"
        " that are let through.",
        "∫ CCR d(FPR); CCR(t) = P(c ≥ t and right | seen), FPR(t) = P(c ≥ t | unseen)",
        "1/(2K): one class always, one confidence",
    ),
    "fpr95": MetricText(
        "Unseen faces that are let through at the threshold that keeps 95 % of the seen ones.",
        "P(c ≥ t | unseen) with P(c ≥ t | seen) = 95 %",
        "100 %: the same confidence always",
    ),
    "fpr95_openood": MetricText(
        "Seen faces that are turned away at the threshold that turns away 95 % of the unseen ones.",
        "P(c ≤ t | seen) with P(c ≤ t | unseen) = 95 %",
        "100 %: the same confidence always",
    ),
    "accuracy": MetricText(
        "Share of faces rightly called forged or real at a probability of 0.5.",
        "(TP + TN) / n",
        "the share of forged faces: always fake (90 % with nine forged groups and one real of the same size)",
    ),
    "balanced_accuracy": MetricText(
        "Mean of the share of forged faces called forged and of real faces called real.",
        "(TP/(TP + FN) + TN/(TN + FP)) / 2",
        "50 %: always fake, or always real",
    ),
    "tpr": MetricText("Share of forged faces that are called forged.", "TP / (TP + FN)", "100 %: always fake"),
    "tnr": MetricText("Share of real faces that are called real.", "TN / (TN + FP)", "100 %: always real"),
    "auc": MetricText(
        "How well the probability of being forged tells forged faces from real ones, at no threshold.",
        "P(s_forged > s_real) + P(s_forged = s_real)/2",
        "50 %: the same probability always",
    ),
    "ap": MetricText(
        "Mean precision over all recalls of forged faces.",
        "Σ_t (R_t - R_(t-1)) P_t",
        "the share of forged faces: the same probability always",
    ),
    "eer": MetricText(
        "The error rate at the threshold where as large a share of forged faces as of real ones is called wrongly.",
        "FPR(t) with FPR(t) = FNR(t)",
        "50 %: the same probability always",
    ),
    "ece": MetricText(
        "How far the probability of being forged is from the share of forged faces, over 15 bins of probability.",
        "Σ_b (n_b/n) |mean s in b - share of forged in b|",
        "the share of real faces: always fake, with certainty",
    ),
    "false_alarms": MetricText(
        "Share of processed real faces (restored, filtered, compressed) that are called forged.",
        "(1/n) Σ_i [s_i > 0.5]",
        "0 %: always real",
    ),
    "prototype_retrieval": MetricText(
        "Share of faces whose nearest prototype of a registered generator is that of their own.",
        "mean over generators of the share of hits",
        "1 / the number of registered generators, by chance",
    ),
    "frechet_distance": MetricText(
        "Distance of two Gaussians fitted to gaze directions.",
        "|μ_a - μ_b|² + tr(Σ_a + Σ_b - 2(Σ_a Σ_b)^½)",
        "0: two draws of one distribution, up to their number",
    ),
    "paired_cosine": MetricText(
        "Cosine of the gaze directions of a forged face and of the real face it was made from, averaged.",
        "mean of cos(a_i, b_i)",
        "that of random pairs of real faces, which is near 1, too",
    ),
}
NOTATION = f"{_NAMED}; s_i: probability of being forged; [·] is 1 where it holds; TP, TN, FP, FN: forged is positive."
_UNITS = {"share": "0 to 100 %", "cosine": "-1 to 1", "rad^2": "0 and above, rad²"}
_COLUMNS = {
    "model": "The model, with the settings in which its rows differ. Constant and pixel-free rows come first.",
    "ranks": "Places by OSCR that the 95 % interval over faces allows; places that overlap are shared. † one seed.",
    "ranks_generators": "Places by OSCR that hold over other generators of this kind, each being one observation.",
    "ranks_next": "Places by OSCR that hold on four of five further generators.",
    "seeds_shown": "Seeds that the numbers are means of.",
    "unseen_range": "95 % interval of unseen ACC over other faces of these generators (and over seeds).",
    "unseen_generators_range": "95 % interval of unseen ACC over other generators of this kind.",
    "unseen_printed": "The average as the paper printed it.",
    "params_m": "Parameters in millions, as the paper printed them; `dfad profile` counts ours the same way.",
    "flops_g": "Operations on one image in 10^9, as printed: multiply-adds, attention products left out.",
    "inference_s": "Seconds for one image on the paper's machine, as printed.",
    "source": "The paper and the table that a reported row was printed in.",
    "alarms_n": "Processed real faces behind the share.",
    "alarms_range": "95 % interval of the share over faces.",
    "init_short": "What the weights were before training. Pre-trained ones may have seen the test generators.",
    "status_shown": "Complete, partial (never ranked), trivial or reported.",
    "checked_short": "What was checked here: repredicted, numbers (they follow from the predictions), claimed, wrong.",
}


def metric_range(name: str) -> str:
    """The range of a metric's values, and which are better."""
    metric = METRICS[name]
    return f"{_UNITS.get(metric.unit, metric.unit)}, {'higher' if metric.higher_is_better else 'lower'} is better"


def metric_text(name: str) -> MetricText:
    """What is said of a metric; of one that another distribution brings, what its function says."""
    if name in METRIC_TEXTS:
        return METRIC_TEXTS[name]
    first = (METRICS[name].resolve().__doc__ or "").strip().split("\n")[0]
    return MetricText(first or METRICS[name].note, "see its distribution", "not known")


def column_definitions(table: Table, protocol: Protocol) -> dict[str, str]:
    """A sentence on each column of a board that has one, by key."""
    found = {}
    for column in table.columns:
        base = column.key.partition("@")[0].partition(":")[0]
        metric = column_metric(base)
        if metric is not None:
            where = "seen generators" if column.key == "seen_auc" else None
            at = next((f" t = {t:g}." for t in other_thresholds(protocol) if f"@{t:g}" in column.key), "")
            at = at or (f" t = {protocol.attribution.headline:g}." if METRICS[metric].on == "unseen" else "")
            text = metric_text(metric).what + (f" Test faces of {where}." if where else "")
            found[column.key] = f"{text}{at} {metric_range(metric).capitalize()}."
        elif base in _COLUMNS:
            found[column.key] = _COLUMNS[base]
    return found
