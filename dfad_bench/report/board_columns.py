"""The columns of a leaderboard, and the numbers of its rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.labels import FAKE
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.record import MetricValue
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.over_generators import LEAST_GENERATORS
from dfad_bench.report.headline import Key, at_headline, headline_keys, scored_metrics
from dfad_bench.report.reported import COSTS
from dfad_bench.report.table import Column

# default number columns -> the number of the record, and the title
_DEFAULT: dict[str, tuple[Key, str]] = {
    "seen_acc": (("attribution", "seen_accuracy", "seen", "macro"), "Seen ACC"),
    "unseen_acc": (("attribution", "unseen_accuracy", "unseen", "macro"), "Unseen ACC @{threshold:g}"),
    "auroc": (("attribution", "auroc", "seen-vs-unseen", "micro"), "AUROC"),
    "oscr": (("attribution", "oscr", "seen-vs-unseen", "micro"), "OSCR"),
    "detection_acc": (("detection", "accuracy", "unseen", "micro"), "Det. ACC"),
    "balanced_acc": (("detection", "balanced_accuracy", "unseen", "micro"), "Balanced"),
    "detection_auc": (("detection", "auc", "unseen", "micro"), "AUC"),
    "seen_auc": (("detection", "auc", "seen", "micro"), "AUC seen"),
}
_FALSE_ALARMS = "false_alarms"  # of processed real faces; a default column where the protocol has such groups
_FACTS = (  # of `row_facts`
    "init", "seed_list", "toolkit", "protocol_is", "recipe", "recipe_is", "crops", "crops_is", "datasets_is", "sources",
    "short_groups", "substitutes", "without_view", "data_changes", "visited", "checked", "settled",
)  # fmt: skip
_BESIDE_ALARMS = (Column("alarms_n", "n processed", "count"), Column("alarms_range", "95 % of alarms", "text"))
_INTERVALS = (
    "unseen_low", "unseen_high", "unseen_sd", "oscr_half", "unseen_acc_generators_low", "unseen_acc_generators_high",
    "families_low", "families_high", "detection_auc_low", "detection_auc_high", "oscr_generators_low",
    "oscr_generators_high", "detection_auc_generators_low", "detection_auc_generators_high",
)  # fmt: skip
_ONE_CLASS = "detection_acc"  # records made before two classes were needed may have it of one


def default_columns(protocol: Protocol | None = None) -> list[str]:
    """Names of the number columns that the board of a protocol shows unless others are chosen."""
    own = [_FALSE_ALARMS] if protocol is not None and _processed(protocol) else []
    return [*_DEFAULT, *own]


def known_columns() -> list[str]:
    """Names of the number columns a board can show: the default ones, and every metric of predictions."""
    return list(dict.fromkeys([*_DEFAULT, *scored_metrics()]))


def column_metric(name: str) -> str | None:
    """The metric of a number column; None for columns of other things.

    >>> column_metric("unseen_acc"), column_metric("eer"), column_metric("seeds")
    ('unseen_accuracy', 'eer', None)
    """
    return _DEFAULT[name][0][1] if name in _DEFAULT else name if name in METRICS else None


def row_numbers(metrics: Iterable[MetricValue], protocol: Protocol) -> dict[str, float | None]:
    """The numbers of a row by column: every metric's headline, intervals, and the share of each unseen group.

    None where the record has no such number or it is not defined.
    """
    metrics = tuple(metrics)
    found = at_headline(metrics, protocol.attribution.headline)

    def value(key: Key) -> float | None:
        return found[key].value if key in found else None

    row = {name: value(key) for name, (key, _) in _DEFAULT.items()}
    accuracy = found.get(_key(_ONE_CLASS))
    if accuracy is not None and 0 in (accuracy.n_pos, accuracy.n_neg):
        row[_ONE_CLASS] = None
    row |= {name: value(headline_keys(name)[0]) for name in scored_metrics() if name not in row}
    unseen, oscr = ((found[key].ci95 if key in found else None) for key in (_key("unseen_acc"), _key("oscr")))
    row["unseen_low"], row["unseen_high"] = unseen or (None, None)
    row["unseen_pm"] = (unseen[1] - unseen[0]) / 2 if unseen else None
    row["oscr_half"] = (oscr[1] - oscr[0]) / 2 if oscr else None
    for group in protocol.unseen:
        row[f"unseen_acc:{group.key}"] = value(_group_key(group.key))
    for group in _processed(protocol):
        row[f"{_FALSE_ALARMS}:{group.key}"] = value(("detection", _FALSE_ALARMS, group.key, "none"))
    alarms = found.get(headline_keys(_FALSE_ALARMS)[0])
    row["alarms_n"] = None if alarms is None or alarms.value is None else alarms.n
    for threshold in other_thresholds(protocol):
        at = at_headline((m for m in metrics if m.params.get("threshold") == threshold), threshold)
        for key, name in ((_key("unseen_acc"), ""), *((_group_key(g.key), f":{g.key}") for g in protocol.unseen)):
            row[f"unseen_acc@{threshold:g}{name}"] = at[key].value if key in at else None
    return row


def headline_numbers(metrics: Iterable[MetricValue], protocol: Protocol) -> tuple[MetricValue | None, ...]:
    """The numbers that have intervals on a board.

    Unseen accuracy at the headline threshold, OSCR, the share of processed real faces called forged, and the AUC of
    detection. It ranks by OSCR, or by AUC where no row has OSCR.
    """
    found = at_headline(metrics, protocol.attribution.headline)
    alarms = headline_keys(_FALSE_ALARMS)[0]
    return tuple(found.get(key) for key in (_key("unseen_acc"), _key("oscr"), alarms, _key("detection_auc")))


def other_thresholds(protocol: Protocol) -> list[float]:
    """The thresholds of a protocol beside its headline."""
    return [threshold for threshold in protocol.attribution.thresholds if threshold != protocol.attribution.headline]


def range_text(low: float | None, high: float | None) -> str | None:
    """An interval of a share in percent, both bounds, since near a bound it is not symmetric.

    >>> range_text(0.9159, 1.0)
    '91.59 to 100.00'
    """
    return None if low is None or high is None else f"{100 * low:.2f} to {100 * high:.2f}"


def board_columns(
    protocol: Protocol,
    *,
    printed: bool,
    per_group: bool,
    by_group: bool = False,
    chosen: Sequence[str] = (),
    costs: Iterable[str] = (),
) -> tuple[Column, ...]:
    """The columns of a protocol's leaderboard.

    Args:
        protocol: gives the threshold and the unseen groups.
        printed: a column for averages as papers printed them.
        per_group: columns for ranks, intervals, each unseen group and the facts of a row.
        by_group: columns for each unseen group.
        chosen: number columns, of `known_columns`, instead of the default ones.
        costs: of `reported.COSTS`, what papers printed of what models cost.

    Raises:
        UnknownNameError: no such column; names the nearest ones.
    """
    if unknown := [name for name in chosen if name not in known_columns()]:
        raise UnknownNameError("column", unknown[0], known_columns())
    columns = [Column("model", "Model", "text"), Column("ranks", "#", "text")]
    drawn = sum(group.taxon.detection_label == FAKE for group in protocol.unseen) >= LEAST_GENERATORS
    columns += [Column("ranks_generators", "# gen.", "text"), Column("ranks_next", "# next", "text")] if drawn else []
    columns += [Column("seeds_shown", "Seeds", "text")]
    for name in dict.fromkeys(chosen or default_columns(protocol)):
        columns.append(_number_column(name, protocol))
        columns += _BESIDE_ALARMS if name == _FALSE_ALARMS else ()
        columns += _beside_unseen(protocol, drawn, printed) if name == "unseen_acc" else ()
    columns += _printed_costs(set(costs))
    if not per_group:
        columns += _group_columns(protocol) if by_group else []
        shown = {"init_short": "Start", "status_shown": "Status", "checked_short": "Checked"}
        columns += [Column(key, title, "text") for key, title in shown.items()]
    else:
        columns.append(Column("status", "Status", "text"))
        columns += [Column(key, key, "count") for key in ("rank", "rank_best", "rank_worst")]
        columns += [Column(key, key, "percent") for key in _INTERVALS]
        columns.append(Column("seeds", "seeds", "count"))
        columns += _group_columns(protocol)
        columns += [
            Column(key, key, "text") for key in ("kind", "source", "note", "protocol_sha256", "manifest_sha256")
        ]
        columns += [Column(key, key, "text") for key in _FACTS]
    return tuple(columns)


def _beside_unseen(protocol: Protocol, drawn: bool, printed: bool) -> Iterator[Column]:
    """The columns beside unseen accuracy: intervals, what was printed, other thresholds."""
    yield Column("unseen_range", "95 % faces", "text")
    if drawn:
        yield Column("unseen_generators_range", "95 % generators", "text")
    if printed:
        yield Column("unseen_printed", "Printed", "percent")
    for threshold in other_thresholds(protocol):
        at = f"@{threshold:g}"
        yield Column(f"unseen_acc{at}", f"Unseen ACC {at}", "percent", better="higher")
        if printed:
            yield Column(f"unseen_printed{at}", f"Printed {at}", "percent")


def _printed_costs(costs: Collection[str]) -> list[Column]:
    digits = {"inference_s": 3}
    return [Column(key, f"{title}, printed", digits=digits.get(key, 2)) for key, title in COSTS.items() if key in costs]


def _group_columns(protocol: Protocol) -> list[Column]:
    """A column for each unseen group and threshold, and for each group of processed real faces."""
    headline = protocol.attribution.headline
    unseen = [group for group in protocol.unseen if not group.taxon.processed]
    places = [("" if t == headline else f"@{t:g}", g) for t in (headline, *other_thresholds(protocol)) for g in unseen]
    alarms = [
        Column(f"{_FALSE_ALARMS}:{g.key}", f"False alarms, {g.dataset}/{g.taxon.display}", "percent", better="lower")
        for g in _processed(protocol)
    ]
    return [*(_group_column(group, at) for at, group in places), *alarms]


def _number_column(name: str, protocol: Protocol) -> Column:
    threshold = protocol.attribution.headline
    if name in _DEFAULT:
        return Column(name, _DEFAULT[name][1].format(threshold=threshold), "percent", better="higher")
    if name == _FALSE_ALARMS:
        return Column(name, "False alarms, processed", "percent", better="lower")
    metric = METRICS[name]
    title = f"{name} @{threshold:g}" if metric.on == "unseen" else name
    better: Literal["higher", "lower"] = "higher" if metric.higher_is_better else "lower"
    return Column(name, title, "percent" if metric.unit == "share" else "number", better=better)


def _group_column(group: Group, at: str) -> Column:
    """The share of one unseen group, at a threshold of its own where `at` names it."""
    title = f"{group.dataset}/{group.taxon.display}" + (f" {at}" if at else "")
    return Column(f"unseen_acc{at}:{group.key}", title, "percent", better="higher")


def _processed(protocol: Protocol) -> list[Group]:
    """The groups of processed real faces."""
    return [group for group in protocol.unseen if group.taxon.processed]


def _group_key(group: str) -> Key:
    return "attribution", "unseen_accuracy", group, "none"


def _key(column: str) -> Key:
    return _DEFAULT[column][0]
