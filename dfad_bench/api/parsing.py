"""What forgeries do to parsing maps of faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.api.manifests import open_manifests
from dfad_bench.core.errors import ConfigError, UnknownNameError, quoted
from dfad_bench.core.files import write_json, write_text
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import hashes_by_dataset
from dfad_bench.parsing.settings import ParsingStudySettings
from dfad_bench.parsing.study import STAND_IN_NOTE, ParsingStudy, study_parsing
from dfad_bench.report.gaze.tables import flat_table
from dfad_bench.report.parsing.tables import parsing_tables, short_tables
from dfad_bench.report.table import Table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ParsingResult:
    """A parsing study: every number as plain values (`facts`), tables, the study itself, and the files written."""

    facts: dict[str, Any]
    tables: list[Table]
    study: ParsingStudy = field(repr=False)
    written: list[Path] = field(default_factory=list)

    @property
    def short_tables(self) -> list[Table]:
        """The table that fits a screen."""
        return short_tables(self.facts)

    def to_frame(self) -> pd.DataFrame:
        """A row a dataset and generator: FID with its interval and floor."""
        return flat_table(self.facts["rows"], "Parsing").to_frame()


def parsing_study(
    manifests: Sequence[Path | str | Manifest],
    views: Mapping[str, Mapping[str, Any]],
    settings: ParsingStudySettings = ParsingStudySettings(),  # noqa: B008  frozen
    *,
    out: Path | str | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
    **changes: Any,
) -> ParsingResult:
    """Compare the parsing maps of real and forged faces: FID a generator, means a family, and BMRL's claim.

    Maps are made first where they are not there yet, and stored as a view.

    Args:
        manifests: folders, or open manifests: one a dataset.
        views: `{"parsing": {...}}`, the parser: `weights`, `folder` or `parser="stand-in"`.
        settings: which faces are compared, by what, and what figures show.
        out: folder for parsing.json, parsing.csv, parsing.md and the figures; None writes nothing.
        progress: shows faces done.
        changes: fields of `ParsingStudySettings` that take the place of those in `settings`, as in `samples=50`.

    Returns:
        Numbers, tables and figures.

    Raises:
        ConfigError: no parser, or settings of another view.
        UnknownNameError: no generator of that name in the manifests.
        WeightsError: weights are missing or do not fit.
        ManifestError: no real or no forged face with a map.
    """
    asked, opened = replace(settings, **changes), open_manifests(manifests)
    if others := sorted(set(views) - {"parsing"}):
        raise ConfigError(f"only settings of the view parsing are used here, got {quoted(others)}")
    _check_generators(asked, opened)
    study = study_parsing(opened, views.get("parsing", {}), asked, progress=progress)
    facts = {**_facts(study), "settings": _settings_of(asked), "manifests": hashes_by_dataset(opened)}
    result = ParsingResult(facts, parsing_tables(facts), study)
    if out is not None:
        result.written.extend(_write(Path(out), result, opened, asked))
    return result


def _check_generators(settings: ParsingStudySettings, manifests: Sequence[Manifest]) -> None:
    """Refuse generators for the figures that no manifest has, before any map is made."""
    known = {str(name) for manifest in manifests for name in manifest.frame(["generator"])["generator"].unique()}
    for name in settings.generators:
        if name not in known:
            raise UnknownNameError("generator in these manifests", name, known)


def _settings_of(settings: ParsingStudySettings) -> dict[str, Any]:
    """What decides the numbers; where files lie is not kept."""
    return {name: getattr(settings, name) for name in ("features", "histogram", "side", "samples", "equal_n", "seed")}


def _facts(study: ParsingStudy) -> dict[str, Any]:
    """Everything of a study as plain values."""
    report = study.report
    notes = [STAND_IN_NOTE, *report.notes] if study.is_stand_in else list(report.notes)
    return {
        **study.about,
        "notes": notes,
        "rows": report.flat(),
        "groups": [dict(vars(group)) for group in report.groups],
        "claims": [dict(vars(claim)) for claim in report.claims],
    }


def _write(
    out: Path, result: ParsingResult, manifests: Sequence[Manifest], settings: ParsingStudySettings
) -> list[Path]:
    from dfad_bench.report.figures.parsing import save_parsing_figures

    files = [out / name for name in ("parsing.json", "parsing.csv", "parsing.md")]
    write_json(files[0], result.facts)
    write_text(files[1], flat_table(result.facts["rows"], "Parsing").render("csv"))
    write_text(files[2], "\n".join(table.render("markdown") for table in result.tables))
    return files + save_parsing_figures(result.study, manifests, out, settings)
