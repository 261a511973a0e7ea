"""The plan that `presage run --dry-run` shows: in words of bars, or of rows."""

from __future__ import annotations

import io
import re

import pytest
from commands import EXAMPLES
from rich.console import Console
from row_job_case import make_job

from presage.spec.job import PredictionJob
from presage.spec.load import load_job
from presage.steps.plan import plan, print_plan


def shown(job: PredictionJob) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_plan(plan(job), console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("task", ["Regression", "Classification"])
def test_a_job_over_rows_is_planned_without_a_word_of_bars(task: str) -> None:
    job = make_job(task, evaluation={"folds": 3, "embargo": 5, "metric": "MAE" if task == "Regression" else "Brier"})
    text = shown(job)
    assert not re.search(r"\bbars?\b", text)
    assert "origin" not in text
    assert f"a {task}: a row is predicted from itself" in text
    assert "default: all columns of trips that do not tell the target" in text
    assert "3 folds of rows, by whole periods of 1d, Expanding window, 5 rows of embargo" in text
    assert "independent periods of 1d needed" in text
    assert ("90% interval must hold" in text) == (task == "Regression")
    assert f"always the {'median' if task == 'Regression' else 'prevalence'}" in text
    assert plan(job).sources[0].frequency is None


def test_when_an_outcome_is_known_is_told_by_the_lag_or_by_a_column() -> None:
    assert plan(make_job()).sources[0].known == "0s after its time"
    told = make_job(source={"availability": {"lag": "0s", "column": "paid_at"}})
    assert plan(told).sources[0].known == "as column paid_at says"


def test_a_job_over_bars_is_planned_in_bars() -> None:
    text = shown(load_job(EXAMPLES / "quickstart.yaml"))
    assert "learnt as Level, 1 bar ahead" in text
    assert "0s after the bar's end" in text
    assert "155 independent origins needed, 90% interval must hold" in text
    assert "and always the baselines" in text
