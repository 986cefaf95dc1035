"""The templates: autoescaped, every text made harmless once more before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dfad_bench.core import escape

if TYPE_CHECKING:
    from jinja2 import Environment

# pages load the style and script beside them and nothing else; "file:" is for pages opened from a disk
POLICY = (
    "default-src 'none'; style-src 'self' file:; script-src 'self' file:; img-src 'self' file:; base-uri 'none';"
    " form-action 'none'"
)
STYLE, SCRIPT = "site.css", "site.js"


@cache
def environment() -> Environment:
    """The environment of all templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("dfad_bench.report.site"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"policy": Markup(POLICY), "style": STYLE, "script": SCRIPT}
    return made


def page(template: str, values: Mapping[str, Any]) -> str:
    """One page. Values reach it as text, whatever is in them."""
    return environment().get_template(template).render(values)


def shipped_text(name: str) -> str:
    """The style or the script."""
    return (files("dfad_bench.report.site") / "templates" / name).read_text(encoding="utf-8")


def _harmless(value: Any) -> Any:
    """Control characters, and those that turn the direction of writing, as escapes; markup that we made stays."""
    return escape.terminal(value) if type(value) is str else value
