"""What this version does not do yet: a job that asks for it is told so before anything is read."""

from __future__ import annotations

from presage.errors import NotSupportedError
from presage.spec.job import PredictionJob
from presage.spec.models import BASELINE_NAMES, COMBINATION_NAMES
from presage.steps.sink import require_sinks


def require_supported(job: PredictionJob) -> None:
    """Raise NotSupportedError for the first thing that a job asks for and a run would leave undone."""
    candidates = {model.name for model in job.spec.models}.difference(BASELINE_NAMES)
    if candidates and candidates <= set(COMBINATION_NAMES):
        raise NotSupportedError(
            f"spec.models: {min(candidates)} has nothing to combine: there is no forecaster but baselines beside it.",
            "List the forecasters to combine, such as ridge and xgboost.",
        )
    if job.spec.is_tabular and job.spec.sinks:
        raise NotSupportedError(
            f"spec.sinks: this version writes no results of task {job.spec.task} elsewhere.",
            "Leave spec.sinks out; `presage forecast --out FILE.parquet` writes predictions to a file.",
        )
    require_sinks(job)


def require_forecast(job: PredictionJob, command: str) -> None:
    """Raise NotSupportedError for a job whose rows are predicted from themselves, which a command cannot handle yet."""
    if job.spec.is_tabular:
        raise NotSupportedError(
            f"spec.task: `presage {command}` is for task Forecast, not for {job.spec.task}.",
            "Use `presage run`, `presage forecast` and `presage report` with it.",
        )
