"""What is done to the pages that the tool made, and what must hold for them."""

from __future__ import annotations

import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Without it there is no search from file://, where browsers start no workers; the tool loads it from another host.
_SHIM = "https://unpkg.com/iframe-worker/shim"
_VENDORED = (
    Path(__file__).parent / "iframe_worker"
)  # iframe-worker 1.0.4, MIT, as published; its licence lies beside it
_LINE_ANCHOR = re.compile(r'<a id="__codelineno[^>]*></a>')  # links without a text, at every line of code
_EMPTY_HEADING = re.compile(r"<th([^>]*)></th>")  # of a table without a heading in this column
# attributes by which a page loads something; `a href` only leads somewhere
_LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}
_LINK_ONLY = ("canonical", "next", "prev", "alternate", "edit")


class Page(HTMLParser):
    """Anchors, links and loaded addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down what an element names and where it leads."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") in _LINK_ONLY:
            return
        self.loaded += [values[name] for kind, name in _LOADED if kind == tag and name in values]


def finish(site: Path) -> None:
    """Put the one script that the tool loads from another host beside the pages; mend what readers aloud stumble on."""
    here = site / "assets" / "iframe-worker"
    shutil.copytree(_VENDORED, here, dirs_exist_ok=True)
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        # the address of 404.html must hold at any depth
        shim = (
            "/assets/iframe-worker/shim.js"
            if path.name == "404.html"
            else os.path.relpath(here / "shim.js", path.parent)
        )
        text = _EMPTY_HEADING.sub(r"<td\1></td>", _LINE_ANCHOR.sub("", text.replace(_SHIM, shim.replace(os.sep, "/"))))
        path.write_text(text, encoding="utf-8")


def problems(site: Path) -> list[str]:
    """A line for every link that leads nowhere within the site, and for everything that is loaded from elsewhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found: list[str] = []
    for path, page in pages.items():
        here = path.relative_to(site).as_posix()
        found += [f"{here}: loads {address} from elsewhere" for address in page.loaded if _is_elsewhere(address)]
        if path.name == "404.html":
            continue  # its addresses are of the host's root
        wrong = (_problem(path, address, pages, site) for address in dict.fromkeys(page.links + page.loaded))
        found += [f"{here}: {problem}" for problem in wrong if problem]
    return found


def _is_elsewhere(address: str) -> bool:
    """Whether an address is neither of this site nor data in the page itself."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _problem(path: Path, address: str, pages: dict[Path, Page], site: Path) -> str | None:
    """What is wrong with a link of a page, if it is one within the site."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    aim = aim / "index.html" if aim.is_dir() else aim
    if not aim.is_relative_to(site.resolve()) or not aim.is_file():
        return f"{address} leads to no file"
    anchor = unquote(parts.fragment)
    if anchor and aim in pages and anchor not in pages[aim].anchors and anchor != "__skip":
        return f"{address}: no such heading"
    return None
