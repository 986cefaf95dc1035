from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.toy import toy_manifests, toy_protocol, toy_row
from PIL import Image

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.data.audit import AUDITS, audit
from dfad_bench.data.audit.findings import Findings
from dfad_bench.data.audit.shortcut import classify
from dfad_bench.data.audit.subject import load
from dfad_bench.data.contact_sheet import findings_sheets
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.select import select

GAN, DIFFUSION = "synthetic-gan-a", "synthetic-diffusion-a"


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def row(
    generator: str = "real", identity: int = 0, shot: int = 0, split: str | None = "train", **changes: Any
) -> dict[str, Any]:
    """A face with a hash far from all others, and file facts that tell nothing."""
    facts = toy_row("synthetic", generator, split, identity, shot)
    word = int.from_bytes(hashlib.sha256(facts["sample_id"].encode()).digest()[:8], "big", signed=True)
    facts |= {
        "source_sha256": digest(facts["sample_id"]), "phash": word, "source_width": 64, "source_height": 64,
        "source_format": "PNG", "source_bytes": 1000 + word % 100,
    }  # fmt: skip
    return {**facts, **changes}


def manifest(folder: Path, rows: list[dict[str, Any]], name: str = "synthetic") -> Manifest:
    return write_manifest(folder / name, name, [{**r, "dataset": name} for r in rows])


def run(name: str, *manifests: Manifest, **settings: Any) -> Findings:
    return audit(manifests, checks=[name], **settings)[0]


def severities(found: Findings) -> list[str]:
    return [remark.severity for remark in found.remarks]


def origins(found: Findings) -> list[set[str]]:
    return [{face.origin for face in example} for remark in found.remarks for example in remark.examples]


def twin(of: Mapping[str, Any], *columns: str, generator: str = "real", identity: int = 1, **changes: Any) -> dict:
    """Another face that shares `columns` with `of`."""
    return row(generator, identity, **{column: of[column] for column in columns}, **changes)


def test_a_clean_manifest_has_neither_warnings_nor_errors(tmp_path: Path):
    rows = [
        row(name, identity, split="train" if identity < 20 else "test")
        for name in ("real", GAN, DIFFUSION)
        for identity in range(30)
    ]
    found = audit([manifest(tmp_path, rows)])
    assert [item.check for item in found] == list(AUDITS)
    assert {item.severity for item in found} <= {"ok", "info"}


@pytest.mark.parametrize(
    ("changes", "severity", "text"),
    [
        ({"identity": 1}, "warning", "the same file under different names"),
        ({"identity": 1, "split": "test"}, "error", "both sides of the split"),
        ({"identity": 1, "generator": GAN}, "error", "different labels"),
        ({"identity": 0, "shot": 5}, "info", "within one source"),
    ],
)
def test_copies_of_a_file(tmp_path: Path, changes: dict, severity: str, text: str):
    first = row()
    copy = row(**changes, source_sha256=first["source_sha256"])
    found = run("same_files", manifest(tmp_path, [first, copy, row(identity=7)]))
    assert severities(found) == [severity]
    assert text in found.remarks[0].text
    assert origins(found) == [{first["origin"], copy["origin"]}]
    assert [(r["sets"], r["files"]) for r in found.rows] == [(1, 2)]


def test_copies_are_found_across_manifests_and_among_refused_files(tmp_path: Path):
    first = row(generator=GAN)
    lost = {**row(identity=2, shot=1), "status": "unreadable", "image": None, "crop_sha256": None, "phash": None}
    again = {**row(identity=3), "source_sha256": lost["source_sha256"]}
    one = manifest(tmp_path, [first, lost, row(identity=5)])
    other = manifest(tmp_path, [twin(first, "source_sha256", generator=GAN), again], "synthetic-outdoor")
    found = run("same_files", one, other)
    assert sorted(r["groups"] for r in found.rows) == [
        "synthetic-outdoor/real + synthetic/real", f"synthetic-outdoor/{GAN} + synthetic/{GAN}",
    ]  # fmt: skip
    faces = [face for remark in found.remarks for example in remark.examples for face in example]
    assert sorted(face.manifest for face in faces) == [0, 0, 1, 1]
    assert [face.drawable for face in faces].count(False) == 1


def test_frames_of_one_video_are_one_file(tmp_path: Path):
    video = [row(sample_id=f"{n:016x}", origin="a.mp4", frame=n, source_sha256=digest("a")) for n in range(4)]
    still = [{**r, "crop_sha256": digest("crop"), "phash": 5} for r in video]
    sound = manifest(tmp_path, still)
    assert run("same_files", sound).severity == "ok"
    assert run("same_pixels", sound).severity == "ok"
    assert run("near_duplicates", sound).severity == "ok"
    copy = row(sample_id="f" * 16, origin="b.mp4", frame=0, source_sha256=digest("a"), source_key="b")
    found = run("same_files", manifest(tmp_path, [*still, copy], "synthetic-outdoor"))
    assert origins(found) == [{"a.mp4", "b.mp4"}]


def test_same_pixels_in_another_file(tmp_path: Path):
    real = row()
    unchanged = twin(real, "crop_sha256", "phash", "image", generator=GAN)
    copied = twin(real, "crop_sha256", "phash", "source_sha256", identity=9)
    found = run("same_pixels", manifest(tmp_path, [real, unchanged]))
    assert severities(found) == ["error"]
    assert "different labels" in found.remarks[0].text
    assert run("same_pixels", manifest(tmp_path, [real, copied], "synthetic-outdoor")).severity == "ok"  # same file


@pytest.mark.parametrize(
    ("changes", "severity", "text"),
    [
        ({"split": "test"}, "warning", "both sides"),
        ({"generator": GAN}, "warning", "one real, the other forged"),
        ({}, "info", "from different sources"),
    ],
)
def test_near_duplicates(tmp_path: Path, changes: dict, severity: str, text: str):
    first = row(phash=0)
    near = row(**{"identity": 1, **changes, "phash": 0b111111})
    far = row(identity=2, phash=-1)
    made = manifest(tmp_path, [first, near, far])
    found = run("near_duplicates", made)
    assert severities(found) == [severity]
    assert text in found.remarks[0].text
    assert origins(found) == [{first["origin"], near["origin"]}]
    assert [(r["pairs"], r["fewest bits"]) for r in found.rows] == [(1, 6)]
    assert run("near_duplicates", made, near_bits=5).severity == "ok"


def test_pairs_of_one_source_are_no_near_duplicates(tmp_path: Path):
    rows = [row("real", 0, 0, phash=0), row(GAN, 0, 0, phash=1), row("real", 0, 1, phash=0)]
    assert run("near_duplicates", manifest(tmp_path, rows)).severity == "ok"
    stranger = row("real", 1, 0, phash=0)
    found = run("near_duplicates", manifest(tmp_path, [*rows, stranger], "synthetic-outdoor"))
    assert sum(r["pairs"] for r in found.rows) == 2  # one a hash and group of the other source
    assert all(stranger["origin"] in pair for pair in origins(found))


def test_a_hash_of_many_sources_is_named_and_not_squared(tmp_path: Path):
    rows = [row(identity=n, phash=0) for n in range(100)] + [row(identity=200, phash=1)]
    found = run("near_duplicates", manifest(tmp_path, rows))
    assert not found.rows
    assert "1 perceptual hashes are shared by 100 sources" in found.remarks[0].text
    assert len(found.remarks[0].examples[0]) == 6


def test_hashes_keep_all_their_bits_beside_refused_rows(tmp_path: Path):
    word = 2**62 + 1
    lost = {**row(identity=2), "status": "unreadable", "image": None, "phash": None}
    made = manifest(tmp_path, [row(phash=word), lost])
    assert load([made]).hashes.tolist() == [word]
    assert made.frame(["phash"], status=None)["phash"].dropna().tolist() == [word]


def test_sources_on_both_sides_as_released(tmp_path: Path):
    leaking = [row(GAN, 3, 0, "train"), row(GAN, 3, 1, "train"), row("real", 3, 2, "test")]
    found = run("split_leaks", manifest(tmp_path, [*leaking, row(GAN, 4, 0, "train"), row("real", 5, 0, "test")]))
    table = {r["group"]: r for r in found.rows}
    assert table[f"synthetic/{GAN}"]["train faces that leak"] == 2
    assert table[f"synthetic/{GAN}"]["share"] == pytest.approx(2 / 3)
    assert table["synthetic/real"]["train faces that leak"] == 0
    assert severities(found) == ["warning"]
    assert len(origins(found)) == 1
    assert origins(found)[0] in ({leaking[n]["origin"], leaking[2]["origin"]} for n in (0, 1))


def test_sources_on_both_sides_of_a_protocol_are_what_select_drops(tmp_path: Path):
    manifests = toy_manifests(tmp_path)
    rows = [row(GAN, 0, 90, "test"), row("real", 1, 91, "test")]  # identities 0 and 1 are trained on
    faces = [dict(toy_row("synthetic", g, "train" if i < 7 else "test", i, s))
             for g in ("real", GAN, DIFFUSION, "synthetic-flow-a") for i in range(10) for s in range(3)]  # fmt: skip
    manifests[0] = write_manifest(tmp_path / "leaking", "synthetic", [*faces, *rows])
    protocol = toy_protocol()
    chosen = select(protocol, manifests)
    found = audit(manifests, protocol, checks=["split_leaks"])[0]
    assert chosen.dropped_leaks > 0
    assert sum(r["train faces that leak"] for r in found.rows) == chosen.dropped_leaks
    assert severities(found) == ["warning"]  # an error where the chosen parts still shared a source
    sides = load(manifests, protocol).faces
    assert (sides["side"] == "train").sum() == len(chosen.train) + len(chosen.validation)
    assert (sides["side"] == "test").sum() == len(chosen.tested)


def test_a_protocol_that_cannot_be_run_is_said(tmp_path: Path):
    outside = toy_manifests(tmp_path)[1]
    found = audit([outside], toy_protocol(), checks=["split_leaks"])[0]
    assert severities(found)[-1] == "info"
    assert "no training faces" in found.remarks[-1].text or "lacks" in found.remarks[-1].text


def test_real_faces_reused_across_groups(tmp_path: Path):
    real = [row(identity=n) for n in range(3)]
    inside = manifest(tmp_path, [*real, row(GAN, 0, phash=real[2]["phash"])])
    reused = [
        twin(real[0], "source_sha256", "crop_sha256", "phash", identity=10),
        twin(real[1], "crop_sha256", "phash", identity=11),
        {**row(identity=12), "phash": real[2]["phash"] ^ 3},
    ]
    found = run("reused_reals", inside, manifest(tmp_path, reused, "synthetic-outdoor"))
    counted = {r["how"]: r["pairs"] for r in found.rows}
    assert counted == {"same file": 1, "same pixels": 1, "near duplicate": 1}
    assert severities(found) == ["warning"]
    assert run("reused_reals", inside).severity == "ok"


def test_balance(tmp_path: Path):
    rows = [row("real", n) for n in range(20)] + [row(GAN, n, 1) for n in range(2)]
    rows += [{**row(GAN, 9, n), "status": "no_face", "image": None} for n in range(2)]
    found = run("balance", manifest(tmp_path, rows))
    table = {r["group"]: r for r in found.rows}
    assert (table["synthetic/real"]["faces"], table[f"synthetic/{GAN}"]["refused share"]) == (20, 0.5)
    assert severities(found) == ["warning", "warning", "info"]
    assert "right on 9.09%" in found.remarks[-1].text


def test_file_facts_by_group(tmp_path: Path):
    rows = [row("real", n, source_width=100, source_height=50 + n // 4, source_bytes=5000) for n in range(5)]
    rows += [row(GAN, n, source_format="JPEG" if n else "PNG", source_bytes=2048) for n in range(4)]
    table = {r["group"]: r for r in run("file_facts", manifest(tmp_path, rows)).rows}
    assert (table["synthetic/real"]["size"], table["synthetic/real"]["shorter side"]) == ("100x50 (80%)", "50 to 51")
    assert table["synthetic/real"]["bytes/pixel"] == pytest.approx(1.0)
    assert table[f"synthetic/{GAN}"]["formats"] == "JPEG 75%, PNG 25%"


@pytest.mark.parametrize(
    ("fakes", "by"),
    [
        ({"source_width": 128, "source_height": 128}, "size alone predicts"),
        ({"source_format": "JPEG"}, "format alone predicts"),
        ({"source_bytes": 9000}, "bytes per pixel alone predict"),
        ({}, None),
    ],
)
def test_the_shortcut_test_tells_by_what(tmp_path: Path, fakes: dict, by: str | None):
    rows = [row("real", n) for n in range(40)] + [row(GAN, n, 1, **fakes) for n in range(40)]
    found = run("shortcut", manifest(tmp_path, rows))
    texts = [remark.text for remark in found.remarks if remark.severity == "warning"]
    if by is None:
        assert texts == []
        return
    assert any(text.startswith(f"real or forged: {by} the classes with 100.0%") for text in texts)
    table = {(r["question"], r["facts"]): r["balanced accuracy"] for r in found.rows}
    assert table["which group", "all"] == 1.0
    blind = {"size", "format"} - {next(iter(fakes)).removeprefix("source_").replace("width", "size")}
    assert all(table["real or forged", name] == 0.5 for name in blind)  # constant facts: a guess


def test_the_shortcut_test_does_not_learn_sources_by_heart(tmp_path: Path):
    """Every identity has its own file size: telling labels by it works only where sources cross the folds."""
    rng = np.random.default_rng(0)
    widths = rng.integers(100, 10_000, 60)
    rows = [row(GAN if n % 2 else "real", n, shot, source_width=int(widths[n])) for n in range(60) for shot in range(6)]
    found = run("shortcut", manifest(tmp_path, rows))
    accuracy = {(r["question"], r["facts"]): r["balanced accuracy"] for r in found.rows}["real or forged", "size"]
    assert 0.3 < accuracy < 0.7


def test_the_error_of_guessing_counts_sources_not_files():
    """Thirty files of each source share its size: they are one guess, and say no more than one file of each."""
    rng = np.random.default_rng(0)
    label = np.repeat(["real", "forged"], 10)
    single = pd.DataFrame({"label": label, "source_key": np.arange(20), "source_width": rng.integers(100, 999, 20)})
    many = single.loc[np.repeat(np.arange(20), 30)].reset_index(drop=True)
    verdicts = [classify(rows, ("source_width",), seed=0) for rows in (single, many)]
    assert (verdicts[0].files, verdicts[1].files) == (20, 600)
    assert verdicts[1].error == pytest.approx(verdicts[0].error) == pytest.approx(np.sqrt(0.25 / 20))


def test_the_shortcut_test_leaves_small_groups_out(tmp_path: Path):
    rows = [row("real", n) for n in range(40)] + [row(GAN, n % 2, n) for n in range(40)]  # two sources only
    found = run("shortcut", manifest(tmp_path, rows))
    assert any(f"synthetic/{GAN} left out" in remark.text for remark in found.remarks)
    assert not found.rows


def test_seeded(tmp_path: Path):
    made = manifest(tmp_path, [row(g, n, source_width=64 + n) for g in ("real", GAN) for n in range(30)])
    first, again = run("shortcut", made, seed=1), run("shortcut", made, seed=1)
    assert first == again


def test_sheets_show_the_faces_side_by_side(tmp_path: Path):
    red, blue = np.full((32, 32, 3), (250, 0, 0), np.uint8), np.full((32, 32, 3), (0, 0, 250), np.uint8)
    from dfad_bench.data.images import encode_png

    def of(pixels: np.ndarray) -> dict[str, Any]:
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        return {"image": {"bytes": encode_png(pixels), "path": None}, "crop_sha256": digest}

    first = row(**of(red))
    copy = twin(first, "source_sha256", **of(blue))
    lost = {**row(identity=5), "status": "no_face", "image": None, "source_sha256": first["source_sha256"]}
    made = [manifest(tmp_path, [first, copy, lost])]
    paths = findings_sheets(made, audit(made, checks=["same_files", "same_pixels"]), tmp_path / "sheets")
    assert [path.name for path in paths] == ["same_files.png"]
    pixels = np.array(Image.open(paths[0]).convert("RGB")).astype(int)
    seen = {tuple(pixels[y, x]) for y in (60, 100, 130) for x in (40, 240, 440)}
    assert {(250, 0, 0), (0, 0, 250), (211, 211, 211)} <= seen  # a refused file has no crop: a grey square


def test_no_such_check(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="Did you mean same_files"):
        run("same_file", manifest(tmp_path, [row()]))
