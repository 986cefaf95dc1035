"""dfad_bench: fine-grained deepfake attribution and detection (DFAD) under identical protocols.

    import dfad_bench as dfad

    settings = dfad.TrainSettings(model="xception", protocol="synthetic", size="tiny", recipe="quick")
    faces = ["manifests/synthetic", "manifests/synthetic-outdoor", "manifests/synthetic-unseen"]
    dfad.train(settings, faces, "runs/xception")
    run = dfad.load_run("runs/xception")

Every name below is imported when it is first used, so that `import dfad_bench` takes no time. docs/api.md says what
is public.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfad_bench.api.by_value import scores_by
    from dfad_bench.api.checks import check_manifests
    from dfad_bench.api.claims import check_claim
    from dfad_bench.api.entries import submit, verify_entries, write_boards
    from dfad_bench.api.evaluation import evaluate, rescore, robustness
    from dfad_bench.api.export import export_run
    from dfad_bench.api.galleries import enroll, identify
    from dfad_bench.api.gaze import extract_gaze, gaze_study
    from dfad_bench.api.hash_manifests import rebuild_manifest, share_manifest
    from dfad_bench.api.imports import evaluate_callable, import_models, import_predictions
    from dfad_bench.api.listed_generators import GeneratorFilter
    from dfad_bench.api.manifests import open_manifest
    from dfad_bench.api.mistakes import mistakes
    from dfad_bench.api.models import profile_models, profile_shares
    from dfad_bench.api.names import list_datasets, list_models, list_names, list_protocols
    from dfad_bench.api.open_world import enrolment, open_world
    from dfad_bench.api.pairs import infer_pairs
    from dfad_bench.api.parsing import parsing_study
    from dfad_bench.api.predict import predict
    from dfad_bench.api.quickstart import quickstart
    from dfad_bench.api.reproduce import plan_table, reproduce_table
    from dfad_bench.api.run_report import run_report
    from dfad_bench.api.run_report_settings import RunReportSettings
    from dfad_bench.api.run_source import load_run
    from dfad_bench.api.runs import compare, leaderboard, scores, verify_record
    from dfad_bench.api.sensitivity import sensitivity
    from dfad_bench.api.shared_runs import push_run
    from dfad_bench.api.site import leaderboard_site
    from dfad_bench.api.table_settings import TableSettings
    from dfad_bench.api.training import train
    from dfad_bench.api.weights import check_weights, fetch_weights
    from dfad_bench.core.batch import Inputs
    from dfad_bench.core.doctor import diagnose
    from dfad_bench.core.errors import DFADError
    from dfad_bench.core.json_schema import schema
    from dfad_bench.core.skeleton import new_skeleton
    from dfad_bench.core.version import __version__
    from dfad_bench.engine.load import LoadedRun
    from dfad_bench.engine.model_contract import check_model
    from dfad_bench.engine.profile import profile_model
    from dfad_bench.engine.settings import EvaluateSettings, RobustnessSettings, TrainSettings
    from dfad_bench.gaze.settings import GazeSettings
    from dfad_bench.inference.settings import PredictSettings
    from dfad_bench.ingest.build import build_manifest
    from dfad_bench.ingest.check import check_manifest
    from dfad_bench.ingest.merge import merge_manifests
    from dfad_bench.ingest.settings import BuildSettings
    from dfad_bench.ingest.survey import survey
    from dfad_bench.intake.settings import CallableSettings, ImportSettings
    from dfad_bench.parsing.settings import ParsingStudySettings
    from dfad_bench.synthetic.layout import synthesize

# public name -> "module:attribute", imported on first use
_PUBLIC = {
    "build_manifest": "dfad_bench.ingest.build:build_manifest",
    "open_manifest": "dfad_bench.api.manifests:open_manifest",
    "extract_gaze": "dfad_bench.api.gaze:extract_gaze",
    "gaze_study": "dfad_bench.api.gaze:gaze_study",
    "GazeSettings": "dfad_bench.gaze.settings:GazeSettings",
    "parsing_study": "dfad_bench.api.parsing:parsing_study",
    "ParsingStudySettings": "dfad_bench.parsing.settings:ParsingStudySettings",
    "train": "dfad_bench.api.training:train",
    "load_run": "dfad_bench.api.run_source:load_run",
    "evaluate": "dfad_bench.api.evaluation:evaluate",
    "robustness": "dfad_bench.api.evaluation:robustness",
    "sensitivity": "dfad_bench.api.sensitivity:sensitivity",
    "export_run": "dfad_bench.api.export:export_run",
    "plan_table": "dfad_bench.api.reproduce:plan_table",
    "reproduce_table": "dfad_bench.api.reproduce:reproduce_table",
    "TableSettings": "dfad_bench.api.table_settings:TableSettings",
    "import_models": "dfad_bench.api.imports:import_models",
    "import_predictions": "dfad_bench.api.imports:import_predictions",
    "evaluate_callable": "dfad_bench.api.imports:evaluate_callable",
    "CallableSettings": "dfad_bench.intake.settings:CallableSettings",
    "ImportSettings": "dfad_bench.intake.settings:ImportSettings",
    "rescore": "dfad_bench.api.evaluation:rescore",
    "scores": "dfad_bench.api.runs:scores",
    "scores_by": "dfad_bench.api.by_value:scores_by",
    "open_world": "dfad_bench.api.open_world:open_world",
    "enroll": "dfad_bench.api.galleries:enroll",
    "identify": "dfad_bench.api.galleries:identify",
    "predict": "dfad_bench.api.predict:predict",
    "PredictSettings": "dfad_bench.inference.settings:PredictSettings",
    "enrolment": "dfad_bench.api.open_world:enrolment",
    "mistakes": "dfad_bench.api.mistakes:mistakes",
    "run_report": "dfad_bench.api.run_report:run_report",
    "RunReportSettings": "dfad_bench.api.run_report_settings:RunReportSettings",
    "compare": "dfad_bench.api.runs:compare",
    "leaderboard": "dfad_bench.api.runs:leaderboard",
    "leaderboard_site": "dfad_bench.api.site:leaderboard_site",
    "verify_record": "dfad_bench.api.runs:verify_record",
    "share_manifest": "dfad_bench.api.hash_manifests:share_manifest",
    "rebuild_manifest": "dfad_bench.api.hash_manifests:rebuild_manifest",
    "push_run": "dfad_bench.api.shared_runs:push_run",
    "fetch_weights": "dfad_bench.api.weights:fetch_weights",
    "check_weights": "dfad_bench.api.weights:check_weights",
    "submit": "dfad_bench.api.entries:submit",
    "write_boards": "dfad_bench.api.entries:write_boards",
    "verify_entries": "dfad_bench.api.entries:verify_entries",
    "check_claim": "dfad_bench.api.claims:check_claim",
    "check_manifest": "dfad_bench.ingest.check:check_manifest",
    "check_manifests": "dfad_bench.api.checks:check_manifests",
    "merge_manifests": "dfad_bench.ingest.merge:merge_manifests",
    "infer_pairs": "dfad_bench.api.pairs:infer_pairs",
    "survey": "dfad_bench.ingest.survey:survey",
    "synthesize": "dfad_bench.synthetic.layout:synthesize",
    "diagnose": "dfad_bench.core.doctor:diagnose",
    "quickstart": "dfad_bench.api.quickstart:quickstart",
    "schema": "dfad_bench.core.json_schema:schema",
    "new_skeleton": "dfad_bench.core.skeleton:new_skeleton",
    "profile_models": "dfad_bench.api.models:profile_models",
    "profile_shares": "dfad_bench.api.models:profile_shares",
    "profile_model": "dfad_bench.engine.profile:profile_model",
    "check_model": "dfad_bench.engine.model_contract:check_model",
    "list_models": "dfad_bench.api.names:list_models",
    "list_names": "dfad_bench.api.names:list_names",
    "GeneratorFilter": "dfad_bench.api.listed_generators:GeneratorFilter",
    "list_protocols": "dfad_bench.api.names:list_protocols",
    "list_datasets": "dfad_bench.api.names:list_datasets",
    "BuildSettings": "dfad_bench.ingest.settings:BuildSettings",
    "TrainSettings": "dfad_bench.engine.settings:TrainSettings",
    "EvaluateSettings": "dfad_bench.engine.settings:EvaluateSettings",
    "RobustnessSettings": "dfad_bench.engine.settings:RobustnessSettings",
    "LoadedRun": "dfad_bench.engine.load:LoadedRun",
    "Inputs": "dfad_bench.core.batch:Inputs",
    "DFADError": "dfad_bench.core.errors:DFADError",
    "__version__": "dfad_bench.core.version:__version__",
}
__all__ = [
    "BuildSettings", "CallableSettings", "DFADError", "EvaluateSettings", "GazeSettings", "GeneratorFilter",
    "ImportSettings", "Inputs", "LoadedRun", "ParsingStudySettings", "PredictSettings", "RobustnessSettings",
    "RunReportSettings", "TableSettings", "TrainSettings", "__version__", "build_manifest", "check_claim",
    "check_manifest", "check_manifests", "check_model", "check_weights", "compare", "diagnose", "enroll",
    "enrolment", "evaluate", "evaluate_callable", "export_run", "extract_gaze", "fetch_weights", "gaze_study",
    "identify", "import_models", "import_predictions", "infer_pairs", "leaderboard", "leaderboard_site",
    "list_datasets", "list_models", "list_names", "list_protocols", "load_run", "merge_manifests", "mistakes",
    "new_skeleton", "open_manifest", "open_world", "parsing_study", "plan_table", "predict", "profile_model",
    "profile_models", "profile_shares", "push_run", "quickstart", "rebuild_manifest", "reproduce_table", "rescore",
    "robustness", "run_report", "schema", "scores", "scores_by", "sensitivity", "share_manifest", "submit",
    "survey", "synthesize", "train", "verify_entries", "verify_record", "write_boards",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    found = getattr(import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
