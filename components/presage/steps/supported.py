"""What this version does not do yet: a job that asks for it is told so before anything is read."""

from __future__ import annotations

from pathlib import Path

from presage.errors import NotSupportedError
from presage.spec.job import PredictionJob
from presage.spec.models import BASELINE_NAMES, COMBINATION_NAMES
from presage.steps.sink import require_sinks


def require_supported(job: PredictionJob, base: Path) -> None:
    """Raise NotSupportedError for the first thing that a job asks for and a run would leave undone.

    Args:
        job: The job.
        base: Folder that relative paths start from.

    Raises:
        JobError: A sink's address is none, or two would write the same table.
        MissingExtraError: What a sink needs is not installed.
        NotSupportedError: This version cannot do what the job asks for.
    """
    candidates = {model.name for model in job.spec.models}.difference(BASELINE_NAMES)
    if candidates and candidates <= set(COMBINATION_NAMES):
        raise NotSupportedError(
            f"spec.models: {min(candidates)} has nothing to combine: there is no forecaster but baselines beside it.",
            "List the forecasters to combine, such as ridge and xgboost.",
        )
    if job.spec.is_tabular:
        require_one_source(job)
    require_sinks(job, base)


def require_one_source(job: PredictionJob) -> None:
    """Raise NotSupportedError for a job over rows that has other sources than its target's."""
    others = [source.name for source in job.spec.sources if source.name != job.spec.target.source]
    if others:
        raise NotSupportedError(
            f"spec.sources: task {job.spec.task} predicts a row of {job.spec.target.source!r} from itself, and "
            f"{others[0]!r} holds other rows.",
            "Join its columns to the rows, and leave it out.",
        )


def require_forecast(job: PredictionJob, command: str) -> None:
    """Raise NotSupportedError for a job over rows and a command that fills the gaps between bars."""
    if job.spec.is_tabular:
        raise NotSupportedError(
            f"spec.task: `presage {command}` fills gaps between bars, and the rows of a {job.spec.task} have none: "
            f"every run reads their source whole, late rows and late outcomes with it.",
            "Use `presage run` instead, or `presage forecast` where nothing is to be learnt.",
        )
