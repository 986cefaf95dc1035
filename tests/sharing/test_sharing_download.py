"""Files of a server: whole, gone on with after a cut, and every bad server as one line, within bounds."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.file_server import Serving, serve

from dfad_bench.core.errors import ConfigError
from dfad_bench.sharing import download as module
from dfad_bench.sharing.download import DownloadError, Limits, PartState, download
from dfad_bench.sharing.places import HubFile, HubRun, WebFile, check_address, file_place, run_place

CONTENT = os.urandom(200_000)
QUICK = Limits(wait_s=0.4, slow_s=0.3, least_rate=1000, attempts=2, pause_s=0.01, most_bytes=1 << 20)


@pytest.fixture
def server() -> Iterator[Serving]:
    with serve(Serving(CONTENT)) as serving:
        yield serving


def fetched(server: Serving, part: Path, **changes: object) -> int:
    return download(server.url, part, limits=QUICK, **changes)  # type: ignore[arg-type]


def refusal(server: Serving, part: Path, **changes: object) -> str:
    begun = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        fetched(server, part, **changes)
    assert time.monotonic() - begun < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_file(server: Serving, tmp_path: Path) -> None:
    assert fetched(server, tmp_path / "p", size=len(CONTENT)) == len(CONTENT)
    assert (tmp_path / "p").read_bytes() == CONTENT
    assert server.ranges_asked == [None]


def test_a_cut_file_goes_on_where_it_was_cut(server: Serving, tmp_path: Path) -> None:
    server.cut_after = [70_000, 50_000]
    assert fetched(server, tmp_path / "p") == len(CONTENT)
    assert (tmp_path / "p").read_bytes() == CONTENT
    assert server.ranges_asked == [None, "bytes=70000-", "bytes=120000-"]
    assert {each.get("If-Range") for each in server.asked[1:]} == {'"one"'}


def test_another_call_goes_on_too(server: Serving, tmp_path: Path) -> None:
    server.cut_after = [60_000, 0, 0]  # the second and third attempt bring nothing
    assert "was cut off after 60,000 of 200,000 bytes" in refusal(server, tmp_path / "p")
    fetched(server, tmp_path / "p")
    assert server.ranges_asked[-1] == "bytes=60000-"
    assert (tmp_path / "p").read_bytes() == CONTENT


def test_a_server_without_ranges_begins_again(server: Serving, tmp_path: Path) -> None:
    server.cut_after, server.ranges = [70_000], False
    assert fetched(server, tmp_path / "p") == len(CONTENT)
    assert (tmp_path / "p").read_bytes() == CONTENT


@pytest.mark.parametrize("obeys", [True, False], ids=["says so", "goes on with the other file"])
def test_a_file_that_changed_between_parts_is_fetched_anew(server: Serving, tmp_path: Path, obeys: bool) -> None:
    other = os.urandom(len(CONTENT))

    def change() -> None:
        if len(server.asked) == 2:
            server.content, server.etag = other, '"two"'

    server.cut_after, server.before, server.obeys_if_range = [70_000], change, obeys
    fetched(server, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == other
    assert server.ranges_asked == [None, "bytes=70000-", *([] if obeys else [None])]


def test_a_part_without_a_validator_is_not_believed(server: Serving, tmp_path: Path) -> None:
    server.etag, server.cut_after = None, [70_000]
    fetched(server, tmp_path / "p")
    assert server.ranges_asked == [None, None]
    assert (tmp_path / "p").read_bytes() == CONTENT


def test_a_range_that_is_not_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    answer = type("Answer", (), {"status": 206, "headers": {"Content-Range": "bytes 0-9/10", "ETag": '"one"'}})
    with pytest.raises(DownloadError, match="was changed since a part"):
        module._begin("http://127.0.0.1:1/w", tmp_path / "p", answer, 5, PartState("u", '"one"', 10))


@pytest.mark.parametrize(
    ("changes", "asked", "message"),
    [
        ({"status": 404}, {}, "there is no such file (404)"),
        ({"status": 403}, {}, "asks for a log-in or refuses (403)"),
        ({"status": 503}, {}, "the server answers 503"),
        ({"endless": True}, {}, "goes on after 1,048,576 bytes"),
        ({"endless": True}, {"size": 9}, "goes on after 9 bytes"),
        ({}, {"size": 9}, "is of 200,000 bytes, expected 9; it is another file"),
        ({"headers": {"Content-Encoding": "gzip"}}, {}, "comes packed ('gzip')"),
        ({"stall_after": 10}, {}, "no more bytes came in time"),
        ({"drip_s": 0.05}, {}, "too slow, try again later"),
        ({"location": "/w.safetensors"}, {}, "leads on more than 5 times"),
        ({"location": "file:///etc/passwd"}, {}, "of another kind (file); not followed"),
        ({"location": "http://localhost:1/x"}, {}, "another host; not followed"),
        ({"location": "http://user@127.0.0.1/x"}, {}, "another host; not followed"),
    ],
)
def test_bad_servers_are_one_line(
    server: Serving, tmp_path: Path, changes: dict[str, object], asked: dict[str, object], message: str
) -> None:
    vars(server).update(changes)
    assert message in refusal(server, tmp_path / "p", **asked)


def test_a_file_too_large_is_refused_before_it_comes(server: Serving, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="200,000 bytes, more than the 1,000 allowed"):
        download(server.url, tmp_path / "p", limits=Limits(most_bytes=1000))
    assert not (tmp_path / "p").exists()


def test_a_disk_without_room_is_said_before(server: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 8, 1000))
    assert "200,000 bytes are to come, 1,000 are free" in refusal(server, tmp_path / "p")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:1 cannot be reached \(Connection refused\)"):
        download("http://127.0.0.1:1/w", tmp_path / "p", limits=QUICK)


@pytest.mark.parametrize(
    "url",
    ["http://example.org/w", "ftp://example.org/w", "file:///etc/passwd", "https://", "https://a@b/w", "https://b/ w"]
    + ["https://b:x/", "https://b/\n"],
)
def test_addresses_that_are_not_fetched(url: str) -> None:
    with pytest.raises(ConfigError):
        check_address(url)


@pytest.mark.parametrize(
    ("before", "after", "followed"),
    [
        ("https://github.com/a", "https://release-assets.githubusercontent.com/b", True),
        ("https://github.com/a", "https://github.com/b", True),
        ("https://github.com/a", "http://github.com/b", False),
        ("https://github.com/a", "https://githubusercontent.com.evil.org/b", False),
        ("https://example.org/a", "https://release-assets.githubusercontent.com/b", False),
        ("http://127.0.0.1:8/a", "http://127.0.0.1:9/a", False),
    ],
)
def test_redirects(before: str, after: str, followed: bool) -> None:
    if followed:
        check_address(after, before)
    else:
        with pytest.raises(ConfigError, match="not followed"):
            check_address(after, before)


def test_sources_in_words() -> None:
    assert file_place("hf://a/b/c/d.safetensors@v1") == HubFile("a/b", ("c/d.safetensors",), "v1")
    assert file_place("https://a/b") == WebFile("https://a/b")
    assert run_place("hf://a/b@v1") == HubRun("a/b", "v1")


@pytest.mark.parametrize(
    "source", ["hf://a", "hf://a/b", "hf://a/b/../c", "hf://../b/c", "hf://a/b/c@../x", "gopher://a", "mailto:a"]
)
def test_sources_that_are_none(source: str) -> None:
    with pytest.raises(ConfigError):
        file_place(source)


@pytest.mark.heavy
def test_sources_of_libraries() -> None:
    name = "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k"
    assert file_place("timm:" + name.removeprefix("timm/")) == HubFile(name, ("model.safetensors", "pytorch_model.bin"))
    clip = file_place("open_clip:ViT-B-32-quickgelu/openai")
    assert isinstance(clip, HubFile)
    assert clip.repo == "timm/vit_base_patch32_clip_224.openai"
    assert clip.files[0] == "open_clip_model.safetensors"
    for bad in ("timm:nonsense", "timm:", "open_clip:", "open_clip:ViT-B-32/no"):
        with pytest.raises(ConfigError, match="knows no file"):
            file_place(bad)


@pytest.mark.parametrize("text", ["hf://", "hf://a", "hf://a/b/c", "hf://a/..", "hf://a/b@", "hf://a b/c", "hf://-a/b"])
def test_runs_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        run_place(text)
