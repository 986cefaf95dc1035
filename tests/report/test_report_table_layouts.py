"""The layouts of the papers' tables as settings: each row another model, each variant of ours a row."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.runs import run_facts, write_run
from helpers.toy import toy_predictions

from baselines.bmrl_variants import VARIANTS as BMRL
from dfad_bench.api.table_runs import built_from, folder_name, row_name, table_runs
from dfad_bench.api.table_settings import TableSettings
from dfad_bench.core.contract import Batch, DFADModel, Inputs, weighted_losses
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import content_hash
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.core.settings import Size
from dfad_bench.core.weights import weight_files
from dfad_bench.report.outline import outline_table
from dfad_bench.report.reported import ReportedRow, ReportedTable, reported_tables
from dfad_bench.report.table_check import MeasuredRun, refuse_unlike, unlike_the_paper
from dfad_bench.views.registry import example_views
from gazeclip.ablations import VARIANTS as GAZECLIP

PROMPTS = [tuple(f"{words}, level {level}" for level in range(4)) for words in ("real", "gan", "flow", "vae", "swap")]
TABLES = {table.name: table for table in reported_tables()}
LAYOUTS = [table for table in TABLES.values() if table.name.startswith(("gazeclip-", "bmrl-"))]


def rows_here(table: ReportedTable) -> list[ReportedRow]:
    return [row for row in (*table.rows, *table.added) if row.model in model_names() and row.lacks is None]


@cache
def behaviour(name: str, options: str) -> tuple[Any, ...]:
    """What a tiny model of some options computes: losses of each stage, gradients and logits, all from fixed values.

    Each parameter's values follow from its name, so that equal models are equal to the digit, and factors that start
    at zero are no zeros. Of two sizes, since margins tell some distances apart and not others.
    """
    model = model_class(name).build(len(PROMPTS), size="tiny", class_prompts=PROMPTS, options=ast.literal_eval(options))
    batch = fixed_batch(model)
    found: list[Any] = [sorted(model.needs), [stage.name for stage in model.stages]]
    for scale in (0.05, 0.1):
        with torch.no_grad():
            for key, value in model.named_parameters():
                generator = torch.Generator().manual_seed(int(content_hash(key)[:8], 16))
                value.copy_(scale * torch.randn(value.shape, generator=generator))
        for stage in model.stages:
            model.train().zero_grad()
            torch.manual_seed(0)
            losses = weighted_losses(model.terms(batch, stage.name))
            sum(losses.values()).backward()
            norms = {key: rounded(p.grad.norm()) for key, p in model.named_parameters() if p.grad is not None}
            found += [{key: rounded(value) for key, value in losses.items()}, norms]
        with torch.no_grad():
            output = model.eval()(batch.inputs)
        found += [rounded(output.attribution_logits.norm()), rounded(output.detection_logits.norm())]
    return tuple(found)


def fixed_batch(model: DFADModel) -> Batch:
    """Two faces a class of random pixels, with the views and prompts that the model asks for."""
    labels = torch.arange(2 * len(PROMPTS)) % len(PROMPTS)
    views = [
        example_views(names, len(labels), 64, torch.Generator().manual_seed(1), settings=model.view_settings)
        for names in (model.needs, model.needs_training)
    ]
    images = torch.rand(len(labels), 3, 64, 64, generator=torch.Generator().manual_seed(2))
    return Batch(Inputs(images, views[0]), labels, (labels > 0).long(), [PROMPTS[label] for label in labels], views[1])


def rounded(value: torch.Tensor) -> str:
    return f"{float(value.detach()):.5g}"


@pytest.mark.parametrize("size", ["paper", "tiny"])
@pytest.mark.parametrize("table", LAYOUTS, ids=lambda table: table.name)
def test_all_rows_of_a_table_have_other_settings(table: ReportedTable, size: Size) -> None:
    built = [(row.model, built_from(row.model, size, row.options), str(row.views)) for row in rows_here(table)]
    assert len(set(built)) == len(built)
    for row, other in combinations((*table.rows, *table.added), 2):
        assert row_name(row) != row_name(other)
        assert folder_name(row, "both") != folder_name(other, "both") or row.lacks or other.lacks


ABLATED = [table for table in LAYOUTS if any(row.options for row in rows_here(table))]


@pytest.mark.heavy
@pytest.mark.parametrize("table", ABLATED, ids=lambda table: table.name)
def test_all_rows_of_a_table_are_other_models_at_tiny_size(table: ReportedTable) -> None:
    """Not by settings, which nothing may read: by what is computed, has gradients, or is drawn from other views."""
    torch.set_num_threads(1)
    found = {row_name(row): (behaviour(row.model, str(dict(row.options))), str(row.views)) for row in rows_here(table)}
    alike = [pair for pair in combinations(found, 2) if found[pair[0]] == found[pair[1]]]
    assert not alike


@pytest.mark.parametrize(("model", "variants"), [("gazeclip", GAZECLIP), ("bmrl", BMRL)])
def test_every_variant_is_a_row_or_the_full_model(model: str, variants: dict[str, object]) -> None:
    used = {row.options["variant"] for table in LAYOUTS for row in rows_here(table) if "variant" in row.options}
    full = built_from(model, "paper", {})
    rest = {name for name in variants if built_from(model, "paper", {"variant": name}) != full} - used
    assert rest == ({"ae_ne_ee_pe"} if model == "bmrl" else set())  # a row that Table 6 leaves out


def test_labels_and_counts_of_table_one_are_printed_so() -> None:
    names = ("gazeclip-df40", "gazeclip-celebdfpp", "gazeclip-recent")
    rows = outline_table([load_protocol(name) for name in names], {}).rows
    labels = {row["generator"]: row["attribution"] for row in rows if row["part"] == "seen"}
    printed = {"StyleGAN2": "9", "StyleGAN3": "10", "LatDiff": "3", "CollDiff": "4", "DDPM": "5", "FSLSD": "6"}
    assert printed.items() <= labels.items()
    assert {(row["train"], row["test"]) for row in rows if row["part"] == "seen"} == {(10000, 1250)}
    unseen = [row for row in rows if row["part"] == "unseen"]
    assert {(row["train"], row["test"], row["attribution"]) for row in unseen} == {(None, 1250, "-1")}
    assert {row["generator"] for row in unseen} >= {"VQGAN", "SiT", "LIA", "FLOAT", "FLUX"}
    kinds = {row["generator"]: (row["forgery"], row["family"]) for row in rows}
    assert kinds["FSLSD"][0] == "FS"
    assert kinds["LIA"][1] == "flow"


@pytest.fixture(scope="module")
def papers_run(tmp_path_factory: pytest.TempPathFactory) -> MeasuredRun:
    """A run of GazeCLIP as the paper says: its protocol whole, size, recipe, weights and estimator."""
    return run_of_the_paper(tmp_path_factory.mktemp("run"))


def run_of_the_paper(folder: Path) -> MeasuredRun:
    protocol = load_protocol("gazeclip-df40")
    frame = toy_predictions(protocol, 2)
    facts = run_facts(protocol, frame, "0" * 64)
    start = {"kind": "local_file", "id": weight_files()["openai_clip_vit_b32"].file, "sha256": "1" * 64}
    model = {**facts["model"], "name": "gazeclip", "display": "GazeCLIP", "init": start}
    config = {
        "model": "gazeclip", "seed": 0, "recipe": load_recipe("default").settings, "epochs": None, "options": {},
        "heads": "both",
        "views": {"estimator": "eth_xgaze", "weights": None},
    }  # fmt: skip
    ran = {**facts["run"], "config": config, "config_sha256": content_hash(config)}
    record = write_run(folder, protocol, frame, resamples=5, model=model, run=ran)
    return MeasuredRun(TABLES["gazeclip-table-02"].rows[-1], "GazeCLIP", "both", "tables/gazeclip", (record,))


def changed(run: MeasuredRun, **changes: Any) -> MeasuredRun:
    record: ResultRecord = run.records[0]
    model = {key: value for key, value in changes.items() if key in ("size", "init")}
    status = {key: value for key, value in changes.items() if key == "status"}
    config = {key: value for key, value in changes.items() if key not in ("size", "status")}
    ran = replace(record.run, config={**record.run.config, **config})
    return replace(run, records=(replace(record, run=ran, model=replace(record.model, **model), **status),))


def test_the_papers_own_run_may_be_compared_with_what_it_prints(papers_run: MeasuredRun) -> None:
    assert unlike_the_paper(TABLES["gazeclip-table-02"], [papers_run]) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": "tiny"}, "size tiny"),
        ({"init": {"kind": "random"}}, "GazeCLIP starts from random weights"),
        ({"init": {"kind": "local_file", "id": "mine.pt", "sha256": "1" * 64}}, "GazeCLIP starts from mine.pt"),
        ({"epochs": 3}, "recipe default, other epochs"),
        ({"recipe": load_recipe("quick").settings}, "recipe quick"),
        ({"recipe": {**load_recipe("default").settings, "batch_size": 8}}, "an edited recipe"),
        ({"status": "partial"}, "GazeCLIP is partial"),
        ({"views": {"estimator": "geometric"}}, "GazeCLIP: gaze by geometric, the paper's is eth_xgaze"),
    ],
)
def test_a_run_that_is_not_the_papers_says_why(
    papers_run: MeasuredRun, changes: dict[str, object], reason: str
) -> None:
    assert unlike_the_paper(TABLES["gazeclip-table-02"], [changed(papers_run, **changes)]) == [reason]


def named_start(**files: str) -> dict[str, Any]:
    return {"kind": "local_files", "files": {name: {"id": file, "sha256": "1" * 64} for name, file in files.items()}}


def test_a_row_with_a_weight_file_of_its_own_shares_the_others(papers_run: MeasuredRun) -> None:
    table = TABLES["gazeclip-table-13"]
    clip, gaze = (weight_files()[name].file for name in ("openai_clip_vit_b32", "eth_xgaze"))
    learning = {"variant": "finetuned_ge"}

    def run(init: dict[str, Any]) -> MeasuredRun:
        tuned = changed(papers_run, options=learning, views={"gaze_patches": {"side": 224}}, init=init)
        config = {**tuned.records[0].run.config, "init": init}
        record = replace(tuned.records[0], run=replace(tuned.records[0].run, config=config))
        return replace(tuned, row=table.rows[2], name="tuned", where="tables/tuned", records=(record,))

    start = papers_run.records[0].model.init
    ran = replace(papers_run.records[0].run, config={**papers_run.records[0].run.config, "init": start})
    full = replace(papers_run, row=table.rows[3], records=(replace(papers_run.records[0], run=ran),))
    whole = run(named_start(clip=clip, gaze=gaze))
    refuse_unlike(table, [whole, full])
    assert unlike_the_paper(table, [whole, full]) == []
    random = run({**named_start(clip=clip), "random": ["gaze"]})
    refuse_unlike(table, [full, random])
    assert unlike_the_paper(table, [random]) == ["GazeCLIP starts from random weights named gaze"]
    with pytest.raises(ConfigError, match=r"in more than what the rows are about \(init\)"):
        refuse_unlike(table, [full, run(named_start(clip="other.pt", gaze=gaze))])
    with pytest.raises(ConfigError, match=r"in more than what the rows are about \(init\)"):
        refuse_unlike(table, [full, run(named_start(gaze=gaze))])


@pytest.mark.parametrize(
    ("given", "tuned", "full"),
    [
        ("clip=a.pt,gaze=b.pt", {"clip": "a.pt", "gaze": "b.pt"}, "a.pt"),
        pytest.param("a.pt", "a.pt", "a.pt", marks=pytest.mark.heavy),
        pytest.param("gaze=b.pt", {"gaze": "b.pt"}, None, marks=pytest.mark.heavy),
        pytest.param("none", None, None, marks=pytest.mark.heavy),
        (None, {"clip": "openai_clip_vit_b32", "gaze": "eth_xgaze"}, "openai_clip_vit_b32"),
    ],
)
def test_rows_take_the_files_they_have(given: str | None, tuned: object, full: object, tmp_path: Path) -> None:
    settings = TableSettings(weights={} if given is None else {"gazeclip": given})
    runs = {run.row.variant: run.settings for run in table_runs(TABLES["gazeclip-table-13"], settings, tmp_path)}
    asked = [runs[name] for name in ("with finetuned gaze encoder (GE)", "full")]
    assert [each and each.weights for each in asked] == [tuned, full]


def test_what_many_rows_have_in_common_is_said_once(papers_run: MeasuredRun) -> None:
    odd = changed(papers_run, views={"estimator": "geometric"})
    runs = [replace(odd, name=name) for name in ("a", "b", "c")]
    words = "gaze by geometric, the paper's is eth_xgaze"
    assert unlike_the_paper(TABLES["gazeclip-table-02"], runs) == [f"3 rows: {words}"]
    assert unlike_the_paper(TABLES["gazeclip-table-02"], runs[:2]) == [f"a; b: {words}"]


def test_another_protocol_is_named(papers_run: MeasuredRun) -> None:
    reasons = unlike_the_paper(TABLES["gazeclip-table-03"], [papers_run])
    assert reasons == ["protocol gazeclip-df40, the table's is gazeclip-celebdfpp"]


def test_runs_of_one_table_differ_in_what_their_rows_are_about_only(papers_run: MeasuredRun) -> None:
    table = TABLES["gazeclip-table-04"]
    first = replace(papers_run, row=table.rows[0])
    between = {"variant": "aws_between"}
    other = replace(changed(papers_run, options=between), row=table.rows[1], name="between", where="tables/between")
    refuse_unlike(table, [first, other])
    with pytest.raises(ConfigError, match=r"tables/between \(seed 0\) is not the run of 'between': options \{\}"):
        refuse_unlike(table, [first, replace(other, records=papers_run.records)])
    changes = [
        {"precision": "bf16"},
        {"epochs": 3},
        {"views": {"estimator": "geometric"}},
        {"init": {"kind": "random"}},
    ]
    for change in changes:
        odd = replace(other, records=changed(papers_run, options=between, **change).records)
        with pytest.raises(ConfigError, match="differs from tables/gazeclip in more than what the rows are about"):
            refuse_unlike(table, [first, odd])
