"""The model card of a shared run: `README.md` with the front matter that the Hugging Face hub reads.

Everything in it is from the record, the model's card and the dataset files; nothing is claimed beyond them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfad_bench.core.escape import markdown, markdown_code
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.core.strict import yaml_text
from dfad_bench.core.taxonomy import REAL_KEY
from dfad_bench.sharing.licences import Terms

_LIBRARY = "dfad-bench"
CODE_LICENCE = "Apache-2.0"
# headline of a record: task, metric, subset, averaging; where it is not defined the card says why
HEADLINE = (
    ("attribution", "seen_accuracy", "seen", "macro"),
    ("attribution", "unseen_accuracy", "unseen", "macro"),
    ("attribution", "auroc", "seen-vs-unseen", "micro"),
    ("attribution", "oscr", "seen-vs-unseen", "micro"),
    ("detection", "auc", "unseen", "micro"),
    ("detection", "balanced_accuracy", "unseen", "micro"),
    ("detection", "tpr", "unseen", "micro"),
    ("detection", "tnr", "unseen", "micro"),
)
USE = """## Intended use

Research on detection and attribution of forged faces, and screening where a person looks at what it flags. It answers
for crops of one face made as named below; whole pictures are cropped by `dfad` first.

Not for: decisions about a person without further evidence; pictures without a face; proof. A probability is no
probability of guilt. Generators that it was not trained on, re-compressed or filtered pictures, and other cameras
change its answers; the numbers below say how far this was measured."""


@dataclass(frozen=True)
class LicenceLine:
    """What one part of a run is under: `what` in words, the licence's text, and what it asks."""

    what: str
    licence: str
    terms: Terms


@dataclass(frozen=True)
class CardFacts:
    """What a card says beside the record."""

    deviations: Sequence[str] = ()
    paper: str = ""
    idea: str = ""
    licences: Sequence[LicenceLine] = ()
    points: Sequence[Mapping[str, Any]] = ()
    changed: Sequence[str] = ()
    files: Sequence[str] = ()
    name: str = "RUN"
    citations: Sequence[str] = field(default_factory=tuple)


def model_card(record: ResultRecord, facts: CardFacts) -> str:
    """The card: the same text for the same run."""
    title = f"{record.model.display or record.model.name}, {record.protocol.name}, seed {record.run.seed_text}"
    blocks = [
        _front(record, facts, title),
        f"# {markdown(title)}",
        _about(record, facts),
        USE,
        _training(record),
        _numbers(record),
        _points(facts.points),
        _limits(record, facts),
        _licences(facts),
        _verify(record, facts),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _front(record: ResultRecord, facts: CardFacts, title: str) -> str:
    every = {line.terms for line in facts.licences}
    if every <= {"open"}:
        licence: dict[str, Any] = {"license": CODE_LICENCE.lower()}
    else:
        kind = "restricted" if every & {"restricted", "unknown"} else "non-commercial-research"
        licence = {"license": "other", "license_name": kind}
    results = [
        {"type": value.metric, "name": f"{value.task} {value.metric}, {value.subset} ({value.averaging})",
         "value": round(value.value, 6)}
        for value in _headline(record) if value.value is not None
    ]  # fmt: skip
    task = {"type": "image-classification", "name": "Deepfake detection and attribution"}
    dataset = {"type": record.manifest.name, "name": f"protocol {record.protocol.name}, {record.manifest.name}"}
    index = [{"name": title, "results": [{"task": task, "dataset": dataset, "metrics": results}]}]
    front = {
        **licence, "library_name": _LIBRARY, "pipeline_tag": "image-classification",
        "tags": ["deepfake-detection", "deepfake-attribution", "image-forensics", "face", record.model.name],
        "model-index": index if results else [],
    }  # fmt: skip
    return f"---\n{yaml_text(front)}---"


def _about(record: ResultRecord, facts: CardFacts) -> str:
    model = record.model
    lines = [
        f"{markdown(model.display or model.name)} ({markdown_code(model.name)}, size {markdown(model.size)},"
        f" {model.params_total or 0:,} parameters), trained by dfad_bench {markdown(record.toolkit.version)}.",
        markdown(facts.idea),
        f"Paper: {markdown(facts.paper)}." if facts.paper else "",
    ]
    if record.status != "complete":
        lines.append(f"**This run is {markdown(record.status)}: it is not ranked.**")
    if model.size == "tiny":
        lines.append("**A tiny network, to try things out: its numbers are not those of the paper's model.**")
    return "\n".join(line for line in lines if line)


def _training(record: ResultRecord) -> str:
    lines = ["## What it was trained on", ""]
    for part in ("train", "validation"):
        if part in record.manifest.splits:
            split = record.manifest.splits[part]
            groups = ", ".join(f"{markdown(name)} {n:,}" for name, n in sorted(split.generators.items()))
            lines.append(f"- {part}: {split.rows:,} faces ({groups})")
    crops = sorted({str(made.get("crop")) for made in record.manifest.made.values() if made.get("crop")})
    lines += [f"- crop profile {', '.join(map(markdown_code, crops))}"] if crops else []
    lines.append(f"- start: {markdown(_start(record.model.init))}")
    recipe = record.run.config.get("recipe", {})
    name = recipe.get("name") if isinstance(recipe, Mapping) else None
    lines.append(f"- recipe {markdown_code(str(name))}, {record.run.steps or 0:,} steps, {record.run.precision}")
    lines.append(f"- manifest content sha256 `{record.manifest.content_sha256}`")
    return "\n".join(lines)


def _start(init: Mapping[str, Any]) -> str:
    kind = init.get("kind")
    if kind == "local_file":
        return f"the weight file {init.get('id')} (sha256 {str(init.get('sha256'))[:16]}…)"
    if kind == "local_files":
        return ", ".join(f"{name}: {file.get('id')}" for name, file in sorted(init.get("files", {}).items()))
    if kind == "run":
        return f"another run ({init.get('protocol')}), which began from {_start(init.get('init', {}))}"
    return "random weights" if kind == "random" else str(kind)


def _headline(record: ResultRecord) -> list[MetricValue]:
    found = []
    for task, metric, subset, averaging in HEADLINE:
        same = [
            v for v in record.metrics if (v.task, v.metric, v.subset, v.averaging) == (task, metric, subset, averaging)
        ]
        found += same[-1:]  # of several thresholds the highest, the papers' headline
    return found


def _numbers(record: ResultRecord) -> str:
    lines = ["## Numbers", "", "On the protocol's test faces, with 95 % intervals over sources of faces.", ""]
    lines += ["| task | number | faces | mean | value | 95 % | n | sources |", "|---|---|---|---|---:|---|---:|---:|"]
    for value in _headline(record):
        at = f" at {value.params['threshold']}" if "threshold" in value.params else ""
        number = "not defined" if value.value is None else f"{value.value:.4f}"
        interval = f"{value.ci95[0]:.4f} to {value.ci95[1]:.4f}" if value.ci95 else (value.ci_reason or "none")
        cells = (
            value.task, f"{value.metric}{at}", value.subset, value.averaging, number,
            interval if value.value is not None else value.null_reason or "", f"{value.n:,}",
            "" if value.sources is None else f"{value.sources:,}",
        )  # fmt: skip
        lines.append("| " + " | ".join(markdown(str(cell)) for cell in cells) + " |")
    lines += [
        "",
        "All numbers, by group and at other thresholds: `record.json`.",
        "One seed is no model: another may rank elsewhere.",
    ]
    return "\n".join(lines)


def _points(points: Sequence[Mapping[str, Any]]) -> str:
    if not points:
        return ""
    lines = ["## Operating points", "", "A face is called forged above the threshold (`operating_points.json`).", ""]
    lines += ["| rule | threshold | sources it was chosen on | remark |", "|---|---:|---:|---|"]
    for point in points:
        threshold = point.get("threshold")
        cells = (
            str(point.get("rule")), "" if threshold is None else f"{threshold:.6f}",
            str(point.get("calibration_sources") or ""), str(point.get("remark") or ""),
        )  # fmt: skip
        lines.append("| " + " | ".join(map(markdown, cells)) + " |")
    return "\n".join(lines)


def _limits(record: ResultRecord, facts: CardFacts) -> str:
    seen = [group.get("generator", "") for group in record.protocol.config.get("seen", ())]
    forged = sorted({str(name) for name in seen} - {REAL_KEY})
    lines = ["## Limits", ""]
    lines.append(
        f"- It knows {len(forged)} generators: {markdown(', '.join(forged)) or 'none'}. Others are likely to be missed."
    )
    lines += [f"- Deviates from its paper: {markdown(text)}" for text in facts.deviations]
    lines += [f"- {markdown(text)}" for text in record.protocol.deviations]
    lines += [f"- Training changed its faces: {markdown(text)}" for text in record.model.data_changes]
    lines += [f"- Warning of the run: {markdown(text)}" for text in record.warnings]
    missing = record.samples.missing_views
    lines += [f"- Where {markdown(view)} is missing: {markdown(text)}" for view, text in sorted(missing.items())]
    return "\n".join(lines)


def _licences(facts: CardFacts) -> str:
    lines = ["## Licences", "", f"- code that loads it: dfad_bench, {CODE_LICENCE}"]
    lines += [f"- {markdown(line.what)}: {markdown(line.licence)}" for line in facts.licences]
    others = [line for line in facts.licences if line.terms != "open"]
    if others:
        lines += [
            "",
            "Whether weights are bound by the terms of what they were trained on is not settled everywhere.",
            "Whoever uses them keeps to the terms above.",
        ]
        if any(line.terms != "non_commercial" for line in others):
            lines += ["Whoever passed them on stated that the owners allow it."]
    lines += ["", *(f"Cite: {markdown(text)}" for text in facts.citations)] if facts.citations else []
    return "\n".join(lines)


def _verify(record: ResultRecord, facts: CardFacts) -> str:
    place = facts.name
    lines = [
        "## How to use and verify it", "", "```console",
        f"$ dfad scores --run {place}", f"$ dfad verify-record --run {place}",
        f"$ dfad verify-record --run {place} --repredict --manifest MANIFEST", "```", "",
        "The second computes every number again from the stored predictions, the third the predictions from the",
        f"weights, on manifests of your own. Record `{record.record_id}`; weights are safetensors, no file holds code.",
    ]  # fmt: skip
    lines += [
        "",
        "No pictures are in this repository. Names of sources in the tables are those of the released datasets.",
    ]
    if facts.changed:
        lines.append(f"Paths of the author's machine were cut off in: {markdown(', '.join(facts.changed))}.")
    return "\n".join(lines)
