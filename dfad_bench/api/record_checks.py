"""What is checked here of records, for boards and for `verify_record`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_checks import Check, check_record
from dfad_bench.report.entries.checking import elsewhere, entry_of
from dfad_bench.report.entries.layout import DEPTH, is_entry

if TYPE_CHECKING:
    from dfad_bench.report.verify import Verification


def record_checks(found: Mapping[Path, ResultRecord], check: bool) -> dict[str, Check]:
    """What is checked here of records, by `record_id`; of copies to the letter, what is known of the best of them.

    Of entries, names, sizes and hashes are looked at in any case: a change there is no matter of numbers alone.
    """
    checks: dict[str, Check] = {}
    for path, record in found.items():
        known = _entry_check(path, record, check) if is_entry(path) else _run_check(path, record, check)
        if record.record_id not in checks or known.rank > checks[record.record_id].rank:
            checks[record.record_id] = replace(known, place=str(path.parent))
    return checks


def verified(path: Path, **elsewhere: Any) -> Verification:
    """Every number and hash of a record compared with the files beside it; arguments as of `verify.verify_record`."""
    from dfad_bench.data.select import rows_hash
    from dfad_bench.report import verify
    from dfad_bench.report.sensitivity_record import is_sensitivity, verify_sensitivity

    if is_sensitivity(path):
        return verify_sensitivity(path)
    return verify.verify_record(path, rows_hash=rows_hash, config_hash=config_hash, **elsewhere)


def config_hash(config: dict[str, Any]) -> str:
    """The hash of a run's settings, as its record keeps them."""
    from dfad_bench.engine.config import config_from

    return config_from(config, "the record's run.config").sha256


def _run_check(path: Path, record: ResultRecord, check: bool) -> Check:
    return check_record(path, record, verified if check else None)


def _entry_check(path: Path, record: ResultRecord, check: bool) -> Check:
    root = path.parents[DEPTH]
    if faults := entry_of(path.parent, root).faults:
        return Check("contradicted", "; ".join(faults[:2]))
    verify = partial(verified, elsewhere=elsewhere(record, root))
    return check_record(path, record, verify if check else None)
