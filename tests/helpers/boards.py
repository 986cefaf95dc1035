"""Records for boards."""

from __future__ import annotations

from dataclasses import replace

from helpers.toy import toy_predictions

from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord, plain, seal
from dfad_bench.report.score import score


def fewer_faces(protocol: Protocol) -> Protocol:
    """The protocol with 8 test faces a group: names and rules are the same, scoring takes no seconds."""
    seen, unseen = (tuple(replace(g, test=None) for g in part) for part in (protocol.seen, protocol.unseen))
    return replace(protocol, seen=seen, unseen=unseen, test_per_group=8)


def record(
    protocol: Protocol, name: str = "toy", seed: int = 0, faces: str = "a", draw: int = 0, **changes
) -> ResultRecord:
    """A record of random predictions."""
    scored = score(toy_predictions(protocol, 30, draw), protocol, resamples=50)
    config = {"model": name, "seed": seed}
    digest = f"{abs(hash((name, seed, faces))):064x}"[-64:]
    return seal(
        {
            "status": "complete",
            "created_utc": "2026-01-01T00:00:00Z",
            "source": {},
            "toolkit": {"version": "0", "git_commit": None, "git_dirty": None},
            "model": {
                "name": name, "display": name.title(), "registry_sha256": "0" * 64, "params_total": 1, "task": "both",
                "params_trainable": 1, "checkpoint_sha256": None, "init": {"kind": "random"},
            },
            "protocol": {
                "name": protocol.name, "version": "1", "sha256": protocol.sha256, "config": plain(protocol),
            },
            "manifest": {
                "name": "synthetic", "content_sha256": faces * 64, "rows": 1, "leakage": {},
                "splits": {"train": {"rows": 30, "content_sha256": "0" * 64, "generators": {"synthetic/real": 30}}},
            },
            "run": {
                "run_id": "r", "seed": seed, "config_sha256": digest, "precision": "fp32", "world_size": 1, "steps": 1,
                "resumed": 0, "config": config,
            },
            "environment": {"python": "3", "torch": "2", "device": "cpu", "deterministic": True},
            "samples": {"expected": 1, "evaluated": 1, "failed": 0},
            "metrics": scored.metrics,
            "groups": scored.groups,
            "sweep": scored.sweep,
            "predictions": {"path": "predictions.parquet", "sha256": "0" * 64, "rows": 1, "columns": []},
            **changes,
        }
    )  # fmt: skip
