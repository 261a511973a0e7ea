"""What this version does not do yet: a job that asks for it is told so before anything is read."""

from __future__ import annotations

from presage.errors import NotSupportedError
from presage.spec.job import PredictionJob
from presage.spec.models import BASELINE_NAMES


def require_supported(job: PredictionJob) -> None:
    """Raise NotSupportedError for the first thing that a job asks for and a run would leave undone."""
    if job.spec.task != "Forecast":
        raise NotSupportedError(
            f"spec.task: found {job.spec.task}, and this version runs Forecast only.",
            "Set spec.task to Forecast, or leave it out.",
        )
    candidates = {model.name for model in job.spec.models}.difference(BASELINE_NAMES)
    if candidates == {"mean_combination"}:
        raise NotSupportedError(
            "spec.models: mean_combination has nothing to combine: there is no forecaster but baselines beside it.",
            "List the forecasters to combine, such as ridge and xgboost.",
        )
    if job.spec.sinks:
        raise NotSupportedError(
            "spec.sinks: this version keeps results under --workdir only.",
            "Leave spec.sinks out; `presage forecast --out FILE.parquet` writes forecasts elsewhere.",
        )
