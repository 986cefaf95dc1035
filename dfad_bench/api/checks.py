"""Manifests checked: files, counts, what a protocol lacks, and an audit of the faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.api.manifests import open_manifests
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.data.audit.findings import Findings
from dfad_bench.data.crop_profiles import refuse_mixed
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.pools import refuse_shared

if TYPE_CHECKING:
    from dfad_bench.ingest.check import GroupNeed, ManifestFacts


@dataclass(frozen=True)
class ManifestCheck:
    """What `check_manifests` found.

    Attributes:
        facts: counts of each manifest, in the order given.
        protocol: the protocol whose groups were looked for, None without one.
        needs: each group of it against what the manifests hold.
        findings: of each check of the audit; empty without one.
        sheets: the contact sheets that were drawn.
        not_drawn: why a contact sheet that was asked for could not be drawn.
    """

    facts: tuple[ManifestFacts, ...]
    protocol: Protocol | None = None
    needs: tuple[GroupNeed, ...] = ()
    findings: tuple[Findings, ...] = ()
    sheets: tuple[Path, ...] = ()
    not_drawn: str | None = None

    @property
    def lacking(self) -> tuple[str, ...]:
        """Groups of the protocol that lack faces."""
        return tuple(need.group for need in self.needs if need.missing)

    @property
    def errors(self) -> tuple[str, ...]:
        """Checks of the audit that found an error."""
        return tuple(item.check for item in self.findings if item.severity == "error")


def check_manifests(
    manifests: Sequence[Path | str | Manifest] | Path | str | Manifest = (),
    protocol: Protocol | str | None = None,
    *,
    deep: bool = False,
    audit: bool = False,
    near_bits: int | None = None,
    contact_sheet: Path | str | None = None,
    refused: Sequence[Path | str] = (),
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> ManifestCheck:
    """Verify the files of manifests against their hashes, count their faces, and find what a protocol lacks.

    Args:
        manifests: folders, or open manifests; with none, the result is what the protocol needs and where to obtain it.
        protocol: its groups are looked for; the audit takes train and test as it chooses them.
        deep: decode every crop and compare its pixels with its row, too.
        audit: search for duplicates, leaks, uneven classes and labels that file facts predict, over all manifests.
        near_bits: bits of 64 in which the perceptual hashes of near duplicates may differ; None is 6.
        contact_sheet: a .png file for faces of each generator; with `audit` perhaps a folder, for its examples, too.
        refused: source folders of the manifests, in order: a sheet of what was refused is drawn as well.
        progress: shows crops decoded, and checks of the audit.

    Returns:
        Counts, needs, findings and sheets; a sheet that cannot be drawn does not hide the others.

    Raises:
        ManifestError: not a finished manifest; with a protocol, two manifests of one dataset that share a face.
        IntegrityError: a damaged file, by name.
        ProtocolError: manifests of crop profiles that the protocol does not name side by side.
        ConfigError: `audit`, `deep` or `contact_sheet` without a manifest, `refused` without `contact_sheet`.
    """
    from dfad_bench.ingest.check import check_manifest, protocol_needs

    single = isinstance(manifests, Path | str | Manifest)
    given = [manifests] if single else list(manifests)  # type: ignore[arg-type,list-item]
    folders = [one.folder if isinstance(one, Manifest) else Path(one) for one in given]  # type: ignore[arg-type]
    _refuse(folders, deep=deep, audit=audit, sheet=contact_sheet is not None, refused=bool(refused))
    rules = load_protocol(protocol) if isinstance(protocol, str) else protocol
    facts = tuple(check_manifest(folder, deep=deep, progress=progress) for folder in folders)
    if rules:
        refuse_shared(found := open_manifests(folders))  # as training would
        refuse_mixed(rules, found)
    needs = tuple(protocol_needs(rules, facts)) if rules else ()
    opened = open_manifests(folders) if audit or contact_sheet is not None else []
    findings = _audited(opened, rules, near_bits, progress) if audit else ()
    if contact_sheet is None:
        return ManifestCheck(facts, rules, needs, findings)
    try:
        sheets = _drawn(opened, findings, Path(contact_sheet), audit, [Path(root) for root in refused])
    except ConfigError as error:  # the numbers are known all the same
        return ManifestCheck(facts, rules, needs, findings, not_drawn=str(error))
    return ManifestCheck(facts, rules, needs, findings, sheets)


def _refuse(folders: Sequence[Path], *, deep: bool, audit: bool, sheet: bool, refused: bool) -> None:
    for asked, option in ((sheet, "--contact-sheet"), (audit, "--audit"), (deep, "--deep")):
        if asked and not folders:
            raise ConfigError(f"{option} needs --manifest")
    if refused and not sheet:
        raise ConfigError("--refused needs --contact-sheet")


def _audited(
    manifests: Sequence[Manifest], rules: Protocol | None, near_bits: int | None, progress: Progress
) -> tuple[Findings, ...]:
    from dfad_bench.data.audit import audit
    from dfad_bench.data.audit.subject import NEAR_BITS

    bits = NEAR_BITS if near_bits is None else near_bits
    return tuple(audit(manifests, rules, near_bits=bits, progress=progress))


def _drawn(
    manifests: Sequence[Manifest], found: Sequence[Findings], path: Path, audited: bool, roots: Sequence[Path]
) -> tuple[Path, ...]:
    """Contact sheets: of what was refused, of faces of each generator, of the examples of the audit."""
    from dfad_bench.data.contact_sheet import contact_sheet, findings_sheets
    from dfad_bench.data.refused_sheet import refused_sheet

    single = not audited or path.suffix.lower() == ".png"
    if not single:
        path.mkdir(parents=True, exist_ok=True)
    of_refused = path.with_name(f"{path.stem}-refused.png") if single else path / "refused.png"
    drawn = [refused_sheet(manifests, roots, of_refused)] if roots else []
    if single:
        return (*drawn, contact_sheet(manifests, path))
    return (*drawn, contact_sheet(manifests, path / "faces.png"), *findings_sheets(manifests, found, path))
