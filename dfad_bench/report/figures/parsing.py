"""The figures of a parsing study: families (BMRL Fig. 2), and FID by generator (Fig. 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.escape import one_line
from dfad_bench.core.label_colours import CELEBAMASK_HQ, label_colours
from dfad_bench.core.labels import FAKE, REAL, Family
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.gaze.examples import load_faces, typical_face
from dfad_bench.gaze.resample import choose
from dfad_bench.parsing.analysis import PLACE
from dfad_bench.parsing.settings import ParsingStudySettings
from dfad_bench.report.figures import style
from dfad_bench.report.figures.gaze_fid import DrawnFace, Unit, draw_fid_figure
from dfad_bench.report.figures.parsing_families import FamilyPanel, draw_families_figure
from dfad_bench.report.parsing.tables import parser_name

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest
    from dfad_bench.parsing.study import ParsingStudy

Key = tuple[str, str]
_REAL: Key = ("", "real")
_EXAMPLES = 3  # faces of a family
_PARTS = ("left brow", "right brow", "left eye", "right eye", "nose", "mouth", "upper lip", "lower lip")
_UNITS = {
    "shares": Unit("", 1000.0, "FID × 1,000", 2, "FID of square roots of parts' shares, not the paper's features"),
    "inception": Unit("", 1.0, "FID", 1),
}
RULE = "chosen by a seeded hash among the half nearest to the median features"
_AXES = {
    "component": "first principal component of the features",
    "parts": "brows, eyes, nose, mouth and lips, % of the pixels",
}


def save_parsing_figures(
    study: ParsingStudy, manifests: Sequence[Manifest], out: Path, settings: ParsingStudySettings
) -> list[Path]:
    """Write `parsing-fid` (BMRL Fig. 7) and `parsing-families` (Fig. 2) into `out`, each as PNG, SVG and PDF.

    Args:
        study: what is drawn.
        manifests: where the crops are.
        out: folder.
        settings: the seed of the choice of faces, which generators are shown, how many faces a bar needs, and what the
            histogram shows.

    Returns:
        The files written.
    """
    rows = [
        row for row in study.report.flat() if not settings.generators or row["generator"] in settings.generators
    ]  # fmt: skip
    names = _printed_names(rows)
    groups = _groups(study, names)
    typical = {key: _typical_row(study, of, settings.seed) for key, of in groups.items() if len(of)}
    families = _families(groups, rows)
    examples = {family: _examples(of, settings.seed) for family, of in families.items()}
    wanted = [row["sample_id"] for row in typical.values()]
    wanted += [name for of in examples.values() for name in of["sample_id"]]
    faces = {name: face.crop for name, face in load_faces(manifests, wanted).items()}
    maker = ", stand-in for a parser" if study.is_stand_in else f", parser {parser_name(study.about)}"
    end = one_line(maker) + style.data_note(sorted({dataset for dataset, _ in names}))
    with style.drawing():
        shown = {
            key: DrawnFace(faces[row["sample_id"]], _coloured_map(study, row[PLACE])) for key, row in typical.items()
        }
        unit = _UNITS[settings.features]
        title = f"FID of the parsing maps of real and forged faces{end}"
        figure = draw_fid_figure(
            rows, shown, title=title, rule=RULE, names=names, least=settings.min_faces, unit=unit
        )  # fmt: skip
        paths = style.save(figure, out, "parsing-fid", title)
        title = f"Parsing maps of real and forged faces by family{end}"
        note = f"Faces: chosen by a seeded hash. Histogram: {_AXES[settings.histogram]}, of all faces with a map."
        panels = _panels(study, families, examples, faces, settings.histogram)
        figure = draw_families_figure(panels, title=title, note=note, axis=_AXES[settings.histogram])
        return paths + style.save(figure, out, "parsing-families", title)


def _groups(study: ParsingStudy, names: Mapping[Key, str]) -> dict[Key, pd.DataFrame]:
    """Faces with a map: real ones that something is compared with, and those of the generators that are shown."""
    seen = study.frame[study.frame[PLACE] >= 0]
    scopes = {row.reals for row in study.report.rows}
    reals = seen[(seen["detection_label"] == REAL) & (seen["dataset"].isin(scopes) | ("all" in scopes))]
    fakes = seen[seen["detection_label"] == FAKE]
    found = {(str(key[0]), str(key[1])): of for key, of in fakes.groupby(["dataset", "generator"], observed=True)}  # type: ignore[index]  # of two columns
    return {_REAL: reals, **{key: of for key, of in found.items() if key in names}}


def _families(groups: Mapping[Key, pd.DataFrame], rows: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """Faces with a map by family, real first, then GAN, diffusion and the others that there are."""
    import pandas as pd

    of_family: dict[str, list[pd.DataFrame]] = {}
    for row in rows:
        key = (str(row["dataset"]), str(row["generator"]))
        if key in groups:
            of_family.setdefault(str(row["family"]), []).append(groups[key])
    order = [kind.value for kind in Family]
    found = {name: pd.concat(of_family[name]) for name in sorted(of_family, key=order.index)}
    return {"real": groups[_REAL], **found}


def _typical_row(study: ParsingStudy, of: pd.DataFrame, seed: int) -> pd.Series[Any]:
    vectors = study.vectors[of[PLACE].to_numpy()]
    off = np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1)
    name = typical_face(of["sample_id"].tolist(), off, seed)
    return of[of["sample_id"] == name].iloc[0]


def _examples(of: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A few faces, of different generators first."""
    ordered = of.sort_values("sample_id", kind="stable")
    firsts = [
        rows.iloc[choose(rows["sample_id"].tolist(), 1, seed)]
        for _, rows in ordered.groupby("generator", observed=True)
    ]
    import pandas as pd

    several = pd.concat(firsts) if firsts else ordered
    if len(several) < _EXAMPLES:
        others = ordered[~ordered["sample_id"].isin(several["sample_id"])]
        more = others.iloc[choose(others["sample_id"].tolist(), _EXAMPLES - len(several), seed)]
        several = pd.concat([several, more])
    return several.iloc[choose(several["sample_id"].tolist(), _EXAMPLES, seed)]


def _panels(
    study: ParsingStudy,
    families: Mapping[str, pd.DataFrame],
    examples: Mapping[str, pd.DataFrame],
    faces: Mapping[str, np.ndarray],
    histogram: str,
) -> list[FamilyPanel]:
    values = _component(study.vectors) if histogram == "component" else _parts(study)
    return [
        FamilyPanel(
            family,
            [
                (faces[name], _coloured_map(study, place))
                for name, place in zip(examples[family]["sample_id"], examples[family][PLACE], strict=True)
            ],
            values[of[PLACE].to_numpy()],
        )
        for family, of in families.items()
    ]


def _component(vectors: np.ndarray) -> np.ndarray:
    """The first principal component (n,) of all vectors; its largest weight is positive."""
    centred = vectors - vectors.mean(axis=0)
    weights = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    found: np.ndarray = centred @ weights * np.sign(weights[np.abs(weights).argmax()])
    return found


def _parts(study: ParsingStudy) -> np.ndarray:
    """The share of the pixels, percent (n,), of the parts of a face."""
    numbers = [CELEBAMASK_HQ.index(name) for name in _PARTS]
    count = len(study.vectors)
    batches = [range(start, min(start + 64, count)) for start in range(0, count, 64)]
    return np.concatenate([np.isin(study.maps(batch), numbers).mean(axis=(1, 2, 3)) * 100 for batch in batches])


def _coloured_map(study: ParsingStudy, place: int) -> np.ndarray:
    palette = np.array(label_colours(), np.uint8)
    found: np.ndarray = palette[study.maps([int(place)])[0, 0]]
    return found


def _printed_names(rows: Sequence[Mapping[str, Any]]) -> dict[Key, str]:
    """Printed names, with the dataset where there are several."""
    keys = [(str(row["dataset"]), str(row["generator"])) for row in rows]
    several, known = len({dataset for dataset, _ in keys}) > 1, taxonomy()
    return {
        (dataset, name): one_line(
            (known[name].display if name in known else name) + (f" ({dataset})" if several else "")
        )
        for dataset, name in keys
    }
