"""The documentation site: links, what is loaded, search from the disk, how it is read aloud; its parts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers.browsing import opened_browser, required_browser

from dfad_bench.cli.main import COMMANDS
from dfad_bench.ingest.sources.spec import load_dataset_spec
from docs.builder.__main__ import main
from docs.builder.commands import cell, commands_page
from docs.builder.dataset_pages import dataset_page, tree
from docs.builder.finished import finish, problems
from docs.builder.navigation import SECTIONS, navigation
from docs.builder.pages import page_names, rewritten, written_pages
from docs.builder.tables import metrics_page, schemas_page

ROOT = Path(__file__).resolve().parents[1]
LOOKED_AT = ("index", "predict", "reference/commands", "reference/metrics", "datasets/genface")


def test_links_between_files_become_links_between_pages() -> None:
    names = page_names(ROOT)

    def shown(text: str, file: str) -> str:
        return rewritten(text, file, names, ROOT)

    assert shown("[a](../README.md#start) [b](api.md)", "docs/gaze.md") == "[a](index.md#start) [b](api.md)"
    assert shown("[a](../docs/tables.md)", "leaderboards/README.md") == "[a](../tables.md)"
    assert shown("[x](manifests/datasets/genface.yaml)", "README.md") == "[x](datasets/genface.md)"
    assert shown("[x](benchmarks/results/mutation.json)", "README.md") == "x (`benchmarks/results/mutation.json`)"
    assert shown("[`LICENSE`](LICENSE)", "README.md") == "`LICENSE`"
    assert (
        shown("![p](docs/images/a.png) [o](https://e.org/x.md)", "README.md")
        == "![p](images/a.png) [o](https://e.org/x.md)"
    )
    kept = "```python\nx = [a](b.md)\n```\n"
    assert shown(kept, "README.md") == kept


def test_every_written_page_is_found_from_the_menu() -> None:
    pages = {**written_pages(ROOT), "reference/commands.md": "", "datasets/index.md": "", "datasets/genface.md": ""}
    text = str(navigation(pages))
    assert [page for page in pages if page != "datasets/genface.md" and repr(page) not in text] == []
    journeys = [page for _, page in SECTIONS["Journeys"]]
    assert [page for page in journeys if page not in pages] == []


def test_every_command_stands_on_the_page_with_its_options_in_groups() -> None:
    text = commands_page()
    assert [name for name in COMMANDS if f"## dfad {name} {{ #dfad-{name} }}" not in text] == []
    train = text[text.index("## dfad train ") : text.index("## dfad evaluate ")]
    assert train.index("**Input options**") < train.index("`--manifest") < train.index("**Model options**")
    assert cell("a|b <x> *y*\nz") == r"a\|b &lt;x> \*y\* z"


def test_the_page_of_a_dataset_has_its_layout_and_its_generators() -> None:
    spec = load_dataset_spec("genface")
    text = dataset_page(spec)
    assert "├── {split}/\n│   ├── EFS/\n│   │   └── {generator}/" in text
    assert [key for key in spec.generators.values() if f"`{key}`" not in text] == []
    assert tree(["a/b", "a/c/d"]) == ["└── a/", "    ├── b", "    └── c/", "        └── d"]


def test_pages_of_metrics_and_schemas_have_all_of_them() -> None:
    from dfad_bench.core.json_schema import SCHEMAS
    from dfad_bench.metrics import METRICS

    metrics, schemas = metrics_page(), schemas_page()
    assert [name for name in METRICS if f"| `{name}` |" not in metrics] == []
    assert [name for name in SCHEMAS if f"## {name}\n" not in schemas] == []


def test_problems_of_pages_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
        '<a href="https://example.org/">4</a><a href="#top">5</a><a href="../outside.html">6</a>'
        '<script src="https://unpkg.com/iframe-worker/shim"></script><img src="https://example.org/x.png">',
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text('<h2 id="there">B</h2>', encoding="utf-8")
    assert problems(tmp_path) == [
        "a.html: loads https://unpkg.com/iframe-worker/shim from elsewhere",
        "a.html: loads https://example.org/x.png from elsewhere",
        "a.html: b.html#gone: no such heading",
        "a.html: c.html leads to no file",
        "a.html: ../outside.html leads to no file",
    ]
    finish(tmp_path)
    assert not [line for line in problems(tmp_path) if "shim" in line]
    assert (tmp_path / "assets" / "iframe-worker" / "LICENSE").is_file()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "thesis.md").write_text("years of work", encoding="utf-8")
    assert main(tmp_path) == 1
    assert main(tmp_path / "source" / "thesis.md") == 1
    assert (tmp_path / "source" / "thesis.md").read_text(encoding="utf-8") == "years of work"
    assert "name an empty folder" in capsys.readouterr().err


def test_a_build_without_cuda_is_one_variable_of_make() -> None:
    address = "https://download.pytorch.org/whl/cpu"
    words = ["make", "-n", "quickstart", "VENV=build/no-such-venv"]
    plain = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    asked = subprocess.run(
        [*words, f"TORCH_INDEX={address}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    lines = asked.splitlines()
    torch = next(number for number, line in enumerate(lines) if f'--index-url "{address}"' in line)
    assert '"torch>=2.10" "torchvision>=0.25"' in lines[torch]
    assert torch < next(number for number, line in enumerate(lines) if line.endswith("-e ."))
    assert "--index-url" not in plain
    needed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{one}"' in needed for one in ("torch>=2.10", "torchvision>=0.25"))
    assert address in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lacking = [name for name in ("zensical", "mkdocstrings_handlers") if find_spec(name) is None]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}: pip install dfad-bench[docs]")
    out = tmp_path_factory.mktemp("docs-site")
    done = subprocess.run(
        [sys.executable, "-m", "docs.builder", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "made"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser(required_browser()) as opened:
        yield opened


@pytest.mark.heavy
def test_no_link_of_the_site_leads_nowhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    assert problems(site) == []
    assert len(list(site.rglob("*.html"))) > 100
    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert 'id="dfad_bench.api.training.train"' in text
    assert 'id="dfad_bench.metrics.detection.eer"' in text


@pytest.mark.heavy
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("dark", 360)])
def test_the_site_is_searched_from_the_disk_and_read_aloud(site: Path, browser: Any, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in LOOKED_AT:
        page.goto((site / f"{name}.html").as_uri())
        found = Axe().run(page).response["violations"]
        assert [(name, one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found] == []
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is wider than the window"
    page.keyboard.press("Control+k")
    page.keyboard.type("conformal")
    page.get_by_text("hierarchical_p_values").first.wait_for(timeout=30_000)
    assert [address for address in asked if not address.startswith(("file:", "blob:", "data:"))] == []
    context.close()
