"""What the record of an entry must hold, whoever wrote it: rules as shipped, nothing hidden, nothing private."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dfad_bench.core.errors import DFADError, cut, listed
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord, plain
from dfad_bench.core.shipped_files import protocol_provenance
from dfad_bench.report.entries.entry import WeightLicence
from dfad_bench.report.entries.private import private_places
from dfad_bench.report.run_record import protocol_of

# what must be said of a model; an empty list of deviations is a statement
CARD = ("display", "paper", "year", "task", "idea", "added", "deviations")
_MAY_BE_EMPTY = ("deviations",)
IMPORTED_CARD = ("name", "author", "reference", "licence")
_FACTS_ONLY = "facts-only"


def content_faults(
    record: ResultRecord, card: Mapping[str, Any] | None, weights: Sequence[WeightLicence]
) -> Iterator[str]:
    """Why a record cannot be an entry, a line a reason; what follows from its predictions is not looked at."""
    if record.status != "complete":
        yield f"the run is {record.status}{f' ({cut(record.run.stopped)})' if record.run.stopped else ''}"
    if record.source.kind == "paper":
        yield "its numbers are a paper's: printed tables are files of leaderboards/reported/"
    if record.model.task == "trivial":
        yield "it is a constant model: boards show those themselves"
    try:
        protocol = protocol_of({"protocol": {"config": record.protocol.config}}, "record")
        yield from _of_protocol(record, protocol)
    except DFADError as error:
        yield f"its protocol cannot be read: {error}"
    if record.imported is None:
        yield from _of_training(record, weights)
    elif record.imported.matched_by == "columns":
        yield "imported predictions must be matched with the faces of a protocol (`--protocol` and `--manifest`)"
    yield from _of_card(record, card)
    if places := private_places(plain(record)):
        yield f"paths of a machine in {listed(places, 3)}"


def _of_protocol(record: ResultRecord, protocol: Protocol) -> Iterator[str]:
    found = protocol_provenance(protocol)
    if found.origin != "shipped":
        differs = f" ({listed(found.differs, 2, '; ')})" if found.differs else ""
        yield f"protocol {cut(protocol.name)} is {found}{differs}; entries are of shipped protocols"
    test = record.manifest.splits.get("test")
    tested = {} if test is None else test.generators
    for group in protocol.groups:
        wanted, have = group.test or protocol.test_per_group or 1, tested.get(group.key, 0)
        if have < wanted and not any(group.key in line for line in record.protocol.deviations):
            yield f"{group.key} has {have} of {wanted} test faces, which its deviations do not say"


def _of_training(record: ResultRecord, weights: Sequence[WeightLicence]) -> Iterator[str]:
    if record.model.checkpoint_sha256 is None:
        yield "no hash of a checkpoint (model.checkpoint_sha256)"
    licences = {row.file: row for row in weights}
    for name, digest in started_from(record.model.init):
        row = licences.get(name)
        if row is None or not row.licence.strip():
            yield f"the licence of weights {cut(name)} is not named"
        elif digest != row.sha256:
            yield f"the licence named for weights {cut(name)} is of another file"
    if _FACTS_ONLY not in record.references:
        yield f"no {_FACTS_ONLY} row beside it: evaluate it again with this version"
    views = record.run.config.get("views")
    views = views if isinstance(views, Mapping) else {}
    seen = record.samples.without_view.keys()
    # a run keeps the settings of the only view it has without the view's name
    named = seen if "estimator" in views and len(seen) == 1 else views.keys()
    for view in sorted(seen - named):
        yield f"what made its view {cut(view)} is not stated (run.config.views): a stand-in would not be marked"


def _of_card(record: ResultRecord, card: Mapping[str, Any] | None) -> Iterator[str]:
    if card is None:
        yield f"no card of model {cut(record.model.name)}: install the package that it comes with"
        return
    needed = CARD if record.imported is None else IMPORTED_CARD
    lacking = [key for key in needed if key not in card or not (card[key] or key in _MAY_BE_EMPTY)]
    if record.imported is not None and not (card.get("trained_on") or card.get("training_data")):
        lacking.append("trained_on or training_data")
    if lacking:
        yield f"its card lacks {listed(lacking, 8)}"
    if record.imported is None and card.get("display") not in (None, record.model.display):
        yield f"its card is of {cut(str(card['display']))}, the record of {cut(str(record.model.display))}"


def started_from(init: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Names and hashes of the published weights that training started from, those of a run before it among them."""
    kind, files = init.get("kind"), init.get("files")
    if kind == "run" and isinstance(init.get("init"), Mapping):
        yield from started_from(init["init"])
    elif kind == "local_files" and isinstance(files, Mapping):
        for about in files.values():
            if isinstance(about, Mapping):
                yield str(about.get("id")), about.get("sha256")
    elif kind in ("local_file", "hub"):
        yield str(init.get("id")), init.get("sha256")
