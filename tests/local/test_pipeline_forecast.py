"""The step that forecasts, where what serves is not the run that the pipeline has just kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pipeline_steps import Trained, trained
from row_job_case import DAYS, NOW, make_job, trips

from presage.errors import JobError
from presage.spec.job import PredictionJob
from presage.spec.job_text import job_text
from presage.steps.promote import read_champions, roll_back, write_champions
from presage.steps.workdir import WorkDirectory
from presage_pipelines.steps.forecast import forecast

REASON = "the desk saw odd fares"


class Desk:
    """A job over trips in a folder, its work directory, and the moment of its next run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work, self.made = folder, WorkDirectory(folder / "work"), 0

    def job(self, **parts: object) -> PredictionJob:
        return make_job(source={"file": {"uri": str(self.folder / "trips.csv")}}, **parts)

    def train(self, job: PredictionJob, hours: int) -> Trained:
        """Run the steps up to the promotion, so many hours after the newest trip that may be known."""
        self.made += 1
        return trained(job_text(job), str(self.work.root), self.folder / f"made-{self.made}", as_of(hours))

    def forecast(self, job: PredictionJob, made: Trained, hours: int, run: str) -> tuple[dict[str, object], str]:
        """What the step tells of the promotion, by condition, and which run serves."""
        told = forecast(
            job_text(job), str(self.work.root), made.data, as_of(hours), run, issued=self.folder / "issued.json"
        )
        assert told.champion is not None
        return {one.type: (one.status, one.reason, one.message) for one in told.conditions}, told.champion.run


def as_of(hours: int) -> str:
    return f"{NOW + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    trips(days=DAYS - 5).write_csv(tmp_path / "trips.csv")
    return Desk(tmp_path)


def test_a_repeat_of_a_run_that_was_rolled_back_says_why_it_does_not_serve(desk: Desk) -> None:
    job = desk.job()
    first = desk.train(job, 0)
    trips().write_csv(desk.folder / "trips.csv")
    second = desk.train(job, 1)
    path = desk.work.champion(job)
    champions = read_champions(path)
    assert champions is not None
    assert champions.current.run == second.run
    back = roll_back(
        champions, procedure=champions.current.procedure, reason=REASON, by=None, now=NOW + timedelta(hours=2)
    )
    write_champions(path, back)
    again = desk.train(job, 3)
    told, serving = desk.forecast(job, again, 3, again.run)
    assert serving == first.run
    status, reason, message = told["Promoted"]
    assert (status, reason) == ("False", "RolledBack")
    assert f"run {second.run} of the same inputs was rolled back" in message
    assert REASON in message


def test_a_champion_of_another_procedure_is_told_by_what_keeps_it(desk: Desk) -> None:
    first = desk.train(desk.job(), 5)
    other = desk.job(evaluation={"folds": 4, "metric": "MAE"})
    made = desk.train(other, 0)
    with pytest.raises(JobError, match=f"run {made.run} is kept and did not take over") as raised:
        desk.forecast(other, made, 0, made.run)
    assert f"of run {first.run} serves trips" in raised.value.what
    assert "first" not in raised.value.remedy
    with pytest.raises(JobError, match="has no champion of its present procedure") as raised:
        desk.forecast(other, made, 0, "")
    assert raised.value.remedy == "Run the pipeline with cadence Train first."
