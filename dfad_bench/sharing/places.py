"""Where a file lies outside: a source in words of `weights.yaml` as something that can be fetched.

hf://OWNER/NAME/FILE[@REVISION]   a file of a repository of the Hugging Face hub
https://HOST/PATH                 a file of a server (http:// on this machine only)
timm:NAME                         what timm fetches for a network with that tag
open_clip:ARCHITECTURE/TAG        what open_clip fetches for it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from dfad_bench.core.errors import ConfigError, quoted

_REPO = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
_REVISION = r"[A-Za-z0-9][A-Za-z0-9_./-]{0,255}"
_HUB_FILE = re.compile(
    rf"hf://(?P<repo>{_REPO})/(?P<file>[A-Za-z0-9_][A-Za-z0-9_./+-]*)(?:@(?P<revision>{_REVISION}))?"
)
_HUB_RUN = re.compile(rf"hf://(?P<repo>{_REPO})/?(?:@(?P<revision>{_REVISION}))?")
HUB = "hf://"
_HERE = ("127.0.0.1", "::1", "localhost")
# whom a server may hand a request on to: those who keep its files
_STORES = {
    "github.com": (".githubusercontent.com",),
    "huggingface.co": (".huggingface.co", ".hf.co"),
}


@dataclass(frozen=True)
class HubFile:
    """A file of a repository; of several `files` the first that is there."""

    repo: str
    files: tuple[str, ...]
    revision: str | None = None


@dataclass(frozen=True)
class WebFile:
    """A file of a server."""

    url: str


@dataclass(frozen=True)
class HubRun:
    """A run in a repository of the hub."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        """As it is typed."""
        return f"{HUB}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def file_place(source: str) -> HubFile | WebFile:
    """Where the file of a source lies.

    Raises:
        ConfigError: not a source, or a name that timm or open_clip does not know.
    """
    if source.startswith(HUB):
        found = _HUB_FILE.fullmatch(source)
        if not found or ".." in found["file"].split("/") or ".." in (found["revision"] or ""):
            raise ConfigError(
                f"source {quoted(source)}: expected hf://OWNER/NAME/FILE or hf://OWNER/NAME/FILE@REVISION"
            )
        return HubFile(found["repo"], (found["file"],), found["revision"])
    kind, _, name = source.partition(":")
    if kind == "timm":
        return _timm_place(name)
    if kind == "open_clip":
        return _open_clip_place(name)
    check_address(source)
    return WebFile(source)


def run_place(text: str) -> HubRun:
    """The repository of `hf://OWNER/NAME[@REVISION]`.

    Raises:
        ConfigError: not of that form.
    """
    found = _HUB_RUN.fullmatch(text)
    if not found or ".." in text:
        raise ConfigError(f"{quoted(text)}: expected hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    return HubRun(found["repo"], found["revision"])


def check_address(url: str, before: str | None = None) -> None:
    """Refuse an address that is not https (http on this machine), and one that a server must not hand on to.

    Args:
        url: the address.
        before: the address that leads there, if any.

    Raises:
        ConfigError: says which rule it breaks.
    """
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ConfigError(f"{quoted(url)}: not an address") from None
    if before is not None:
        origin = urlsplit(before)
        known = (origin.hostname or "").lower()
        if parts.scheme != origin.scheme and not (origin.scheme == "http" and parts.scheme == "https"):
            raise ConfigError(
                f"{quoted(before)}: leads to {quoted(url)}, of another kind ({parts.scheme}); not followed"
            )
        same = host == known and (parts.port == origin.port or known not in _HERE)
        if not same and not host.endswith(_STORES.get(known, ("\0",))):
            raise ConfigError(f"{quoted(before)}: leads to {quoted(url)}, another host; not followed")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _HERE):
        raise ConfigError(f"{quoted(url)}: only https:// is fetched")
    if not host or parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{quoted(url)}: not a plain address")


def is_here(url: str) -> bool:
    """Whether an address is of this machine."""
    return (urlsplit(url).hostname or "").lower() in _HERE


def _timm_place(name: str) -> HubFile | WebFile:
    import timm

    about = timm.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
    if about is None or not (about.hf_hub_id or about.url):
        raise ConfigError(f"timm:{name}: timm {timm.__version__} knows no file of that name (NETWORK.TAG)")
    if about.hf_hub_id:
        repo, _, revision = str(about.hf_hub_id).partition("@")
        files = (about.hf_hub_filename,) if about.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
        return HubFile(repo, files, revision or None)
    url = str(about.url)
    check_address(url)
    return WebFile(url)


def _open_clip_place(name: str) -> HubFile | WebFile:
    import open_clip

    architecture, _, tag = name.partition("/")
    about = open_clip.get_pretrained_cfg(architecture, tag)
    owner, _, rest = str(about.get("hf_hub") or "").partition("/")
    if rest:
        repo, _, file = rest.partition("/")
        files = (file,) if file else ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
        return HubFile(f"{owner}/{repo}", files)
    if not about.get("url"):
        raise ConfigError(f"open_clip:{name}: open_clip {open_clip.__version__} knows no file of ARCHITECTURE/TAG")
    check_address(about["url"])
    return WebFile(about["url"])


def terms_of_library(source: str) -> str:
    """The licence that timm states for a file of its; elsewhere where to read it."""
    if source.startswith("timm:"):
        import timm

        about = timm.get_pretrained_cfg(source.removeprefix("timm:"))
        return str(getattr(about, "license", None) or "not stated")
    return "as on its model card"
