from __future__ import annotations

import pytest

from dfad_bench.core.private_paths import has_path, text_without_paths, without_paths

PATHS = (
    "/home/ada/x",
    "/home/ada/x/",
    "see (/home/ada/x.pt)",
    "at:/data/ada/x",
    "file:///home/ada/x",
    "file:/home/ada/x",
    "~/ada/x",
    "~/x",
    "/root",
    "/root/x",
    "/scratch",
    "written below /scratch.",
    "/mnt/c/Users/ada/x",
    "/Users/ada lovelace/x.pt",
    "lost: /home/ada king lovelace/x.pt is gone",
    "/anything/ada lovelace/faces of me/x.pt",
    "no file '/anything/ada lovelace/x.pt'",
    "C:\\Users\\ada\\x",
    "C:\\Users\\ada lovelace\\x",
    "C:/Users/ada/x",
    "d:/x",
    "\\\\server\\share",
    "\\\\server\\share\\ada lovelace\\x",
)
OTHERS = (
    "",
    "runs/x.pt",
    "gan/x/y",
    "../x/y",
    "./a/b",
    "https://example.org/home/ada",
    "s3://bucket/a/b",
    "hf://owner/name",
    "1/2",
    "a / b",
    "and/or",
    "/",
    "2026/11/30",
    "synthetic/real",
    "n/a",
    "ViT-B/32",
    "[path]/x.pt",
    "openai/clip-vit-base-patch32",
    "seen/unseen 90/10",
    "ratio a:b",
    "12:30",
)


@pytest.mark.parametrize("text", PATHS)
def test_paths_of_a_machine_are_found_and_cut(text: str) -> None:
    assert has_path(text)
    clean, changed = without_paths({"a": [text]}, "[path]/")
    assert changed == ["a[0]"]
    left = clean["a"][0]
    assert not has_path(left)
    for word in ("ada", "lovelace", "server", "Users"):
        assert word not in left.split("[path]/")[0]
        assert word not in left or text.rstrip("/\\").endswith(word)


@pytest.mark.parametrize("text", OTHERS)
def test_other_texts_stay(text: str) -> None:
    assert not has_path(text)
    assert text_without_paths(text) == text


def test_what_stands_around_a_path_stays() -> None:
    text = "warning: '/home/ada lovelace/a b.pt' and /data/x/y.pt: 1/2 of https://a.b/c"
    assert text_without_paths(text) == "warning: 'a b.pt' and y.pt: 1/2 of https://a.b/c"


def test_a_long_text_takes_no_time() -> None:
    for text in ("/" * 200_000, "/home/a " * 50_000, "/a" * 200_000, "'/a/ " * 50_000, "C:/" * 100_000):
        text_without_paths(text)
        has_path(text)
