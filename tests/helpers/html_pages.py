"""HTML read strictly: every element closed, in order; what it is made of, and what it links to."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br"}
# elements whose end may be left out, by what ends them
CLOSED_BY = {
    "td": {"td", "th"}, "th": {"td", "th"}, "tr": {"td", "th", "tr"}, "/tbody": {"td", "th", "tr"},
    "dt": {"dt", "dd"}, "dd": {"dt", "dd"}, "/dl": {"dt", "dd"},
}  # fmt: skip
SVG = {"svg", "title", "desc", "line", "circle", "text", "polyline", "g"}
TAGS = {
    "html", "head", "body", "main", "header", "footer", "nav", "section", "h1", "h2", "h3", "p", "ul", "li", "a", "b",
    "u", "s", "strong", "code", "pre", "div", "span", "table", "caption", "thead", "tbody", "tr", "th", "td", "form",
    "label", "select", "option", "details", "summary", "fieldset", "legend", "button", "dl", "dt", "dd", "figure",
    "figcaption", "script",
} | VOID | SVG  # fmt: skip
ATTRIBUTES = {
    "data-row", "data-first", "data-line", "data-most", "data-models", "data-columns", "display", "transform",
    "lang", "charset", "http-equiv", "content", "name", "rel", "href", "src", "defer", "class", "id", "tabindex",
    "role", "aria-labelledby", "aria-label", "aria-live", "aria-hidden", "scope", "colspan", "title", "download",
    "type", "autocomplete", "maxlength", "value", "hidden", "viewbox", "width", "height", "font-family", "font-size",
    "fill", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "stroke", "stroke-width", "stroke-dasharray", "opacity",
    "points", "text-anchor", "data-sortable", "data-key", "data-extra", "data-better", "data-v", "data-kind",
    "data-task", "data-venue", "data-params", "data-start", "data-for",
}  # fmt: skip


@dataclass
class Page:
    """What a page holds. `cells`: of each table row, tag and attributes; `texts` are by the element they stand in."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def of(self, *names: str) -> list[dict[str, str | None]]:
        """The attributes of each element of some names."""
        return [attributes for name, attributes in self.tags if name in names]

    @property
    def text(self) -> str:
        """All text."""
        return "".join(words for _, words in self.texts)

    @property
    def links(self) -> list[str]:
        """Where it leads to, and what it loads."""
        return [found[key] or "" for _, found in self.tags for key in ("href", "src") if key in found]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self.open = Page(), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} stands twice"
        while self.open and self.open[-1] in CLOSED_BY.get(tag, ()):
            self.open.pop()
        self.page.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] in CLOSED_BY.get(f"/{tag}", ()):
            self.open.pop()
        assert self.open
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.page.texts.append((self.open[-1] if self.open else "", data))


def read_page(text: str) -> Page:
    """A page, whose elements are all closed in order and are all of the kinds that our templates write."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert {tag for tag, _ in reader.page.tags} <= TAGS
    assert {name for _, found in reader.page.tags for name in found} <= ATTRIBUTES
    return reader.page
