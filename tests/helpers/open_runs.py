"""Finished runs with outputs, made from drawn embeddings: classes around centres, unseen generators elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from helpers.runs import run_facts
from scipy.special import softmax

from dfad_bench.core.files import sha256_file, write_json
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_outputs import LastLayer, Outputs, compact_embedding, write_last_layer, write_outputs
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.report.run_record import build_record

WIDTH = 12
FACES = 4  # of a source


class DrawnModel:
    """A linear expert on embeddings in `WIDTH` dimensions; unseen groups lie off the plane that its classes span."""

    def __init__(self, protocol: Protocol, seed: int = 0, spread: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        self.protocol, self.spread, self.rng = protocol, spread, rng
        self.centres = {group.key: rng.normal(size=WIDTH) * 3 for group in protocol.groups}
        self.weight = np.stack([self.centres[group.key] for group in protocol.seen]) / 6
        self.bias = rng.normal(size=len(self.weight)) / 2

    def part(self, groups: tuple[Group, ...], sources: int, part: str) -> tuple[pd.DataFrame, Outputs]:
        """Predictions and outputs of `sources` sources a group, `FACES` faces each; faces of a source lie together."""
        frames, embeddings = [], []
        for group in groups:
            own = np.repeat(self.rng.normal(size=(sources, WIDTH)), FACES, axis=0)
            faces = self.centres[group.key] + self.spread * (own + self.rng.normal(size=own.shape) / 2)
            keys = [f"{part}/{group.key}/{k // FACES}" for k in range(len(faces))]
            about = {"group": group.key, "source_key": keys, "attribution_label": group.label}
            about |= {"detection_label": group.taxon.detection_label}
            frames.append(pd.DataFrame({"sample_id": [f"{key}#{k}" for k, key in enumerate(keys)], **about}))
            embeddings.append(faces)
        frame = pd.concat(frames, ignore_index=True)
        embedding = compact_embedding(np.concatenate(embeddings))
        logits = (embedding.astype(float) @ self.weight.T + self.bias).astype("float32")
        forged = frame["detection_label"].to_numpy() * 2.0 + self.rng.normal(size=len(frame)) - 1
        detection = np.column_stack([-forged / 2, forged / 2]).astype("float32")
        p, p_fake = softmax(logits.astype(float), axis=1), softmax(detection.astype(float), axis=1)[:, 1]
        frame = frame.assign(**{f"p_{k}": p[:, k].astype("float32") for k in range(p.shape[1])})
        frame["p_fake"] = p_fake.astype("float32")
        names = (frame[name].to_numpy(dtype=str) for name in ("sample_id", "group", "source_key"))
        return frame, Outputs(*names, frame["attribution_label"].to_numpy(), logits, detection, embedding)


def write_open_run(
    folder: Path,
    protocol: Protocol,
    *,
    seed: int = 0,
    sources: Mapping[str, int] | None = None,
    spread: float = 1.0,
    linear: bool = True,
    kept: bool = True,
    resamples: int = 0,
) -> ResultRecord:
    """A finished run of a `DrawnModel`, scored.

    Args:
        folder: of the run.
        protocol: its groups.
        seed: of all that is drawn.
        sources: how many sources of each group a part has: training, validation, test.
        spread: of faces around their centres.
        linear: whether the last layer is kept.
        kept: whether any outputs are.
        resamples: of the record's intervals.
    """
    counts = {"training": 20, "validation": 12, "test": 12, **(sources or {})}
    model, files = DrawnModel(protocol, seed, spread), RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seen = tuple(protocol.seen)
    made = {"training": model.part(seen, counts["training"], "training")}
    if counts["validation"]:
        made["validation"] = model.part(seen, counts["validation"], "validation")
    made["test"] = model.part(protocol.groups, counts["test"], "test")
    digest = write_predictions(files.predictions, made["test"][0])
    facts = run_facts(protocol, made["test"][0], digest)
    if kept:
        for part, (_, outputs) in made.items():
            write_outputs(files.outputs(part), outputs)
        paths = [files.outputs(part) for part in made]
        if "validation" in made:
            write_predictions(files.validation, made["validation"][0])
            paths.append(files.validation)
        if linear:
            write_last_layer(files.last_layer, LastLayer(model.weight, model.bias))
            paths.append(files.last_layer)
        facts["run"]["files"] = {path.name: sha256_file(path) for path in paths}
    write_json(files.facts, facts)
    return build_record(folder, resamples=resamples)
