"""Taxi trips in Chicago, real ones: a Regression and a Classification, run, judged and forecast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from commands import EXAMPLES

from presage.errors import DataError, LeakageError, NotSupportedError
from presage.spec.job import PredictionJob
from presage.spec.load import load_job
from presage.steps.backtest import run_backtest
from presage.steps.issue import issue_forecast
from presage.steps.records import DoneRun
from presage.steps.run import run_job
from presage.steps.verify import verify
from presage.tabular.predictions import RowForecastSummary

NOW = datetime(2017, 2, 1, tzinfo=UTC)
TRIPS = 15_002


@dataclass(frozen=True)
class Ran:
    """An example that has been run."""

    job: PredictionJob
    workdir: Path
    done: DoneRun


def quiet(_step: str, _done: int, _total: int) -> None:
    return None


def run(job: PredictionJob, workdir: Path, trips: Path, now: datetime = NOW) -> DoneRun:
    return run_job(
        job, base=EXAMPLES, workdir=workdir, now=now, sources={"trips": str(trips)}, workers=1, progress=quiet
    )


def issue(ran: Ran, trips: Path, out: Path | None = None) -> RowForecastSummary:
    issued = issue_forecast(
        ran.job, base=EXAMPLES, workdir=ran.workdir, now=NOW, sources={"trips": str(trips)}, out=out, progress=quiet
    )
    assert isinstance(issued.summary, RowForecastSummary)
    return issued.summary


def quick(name: str, **parts: object) -> PredictionJob:
    """An example with one small model in three folds."""
    job = load_job(EXAMPLES / f"{name}.yaml")
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    small = {
        "models": [{"name": "xgboost", "parameters": {"n_estimators": 20}}],
        "evaluation": {**document["spec"]["evaluation"], "folds": 3},
    }
    return PredictionJob.model_validate({**document, "spec": {**document["spec"], **small, **parts}})


@pytest.fixture(scope="module")
def trips(shared_data: Path) -> Path:
    return shared_data / "chicago_taxi" / "data.csv.gz"


@pytest.fixture(scope="module")
def fare(trips: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    job, workdir = load_job(EXAMPLES / "chicago-taxi-fare.yaml"), tmp_path_factory.mktemp("fare")
    return Ran(job, workdir, run(job, workdir, trips))


@pytest.fixture(scope="module")
def tip(trips: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    job, workdir = load_job(EXAMPLES / "chicago-taxi-tip.yaml"), tmp_path_factory.mktemp("tip")
    return Ran(job, workdir, run(job, workdir, trips))


def test_the_fare_is_predicted_better_than_its_median_with_intervals_that_hold(fare: Ran) -> None:
    card = fare.done.summary.scorecard
    assert card.sources[0].rows == TRIPS, "trips of the same quarter of an hour are rows of their own"
    assert card.verdict.reason == "BetterThanBaseline"
    champion = card.contender(card.verdict.champion)
    assert champion.skill is not None
    assert champion.skill > 0.5
    assert all(coverage.inside for coverage in champion.coverage)
    assert card.contender("median").metrics.mae == pytest.approx(6.3, abs=0.2)


def test_a_tip_above_a_fifth_of_the_fare_is_told_by_honest_probabilities(tip: Ran) -> None:
    card = tip.done.summary.scorecard
    assert card.target == "trips.tips above 0.2 of fare"
    assert card.verdict.reason == "BetterThanBaseline"
    champion = card.contender(card.verdict.champion).classification
    assert champion is not None
    assert champion.auc is not None
    assert champion.auc > 0.9
    assert champion.calibration_error < 0.02
    assert card.contender("prevalence").classification is not None


def test_a_run_leaves_its_report_its_bundle_and_what_the_platform_is_told(fare: Ran) -> None:
    names = {path.name for path in fare.done.directory.iterdir()}
    assert names >= {"report.html", "predictions.csv", "scorecard.json", "summary.json", "features.json", "bundle"}
    assert fare.done.outcome.scorecard is not None
    assert fare.done.outcome.scorecard.skill == pytest.approx(
        fare.done.summary.scorecard.contender(fare.done.summary.scorecard.verdict.champion).skill, abs=1e-3
    )
    messages = {one.type: one.message for one in fare.done.summary.conditions}
    assert messages["DataReady"] == "trips 15,002 rows"


def test_new_trips_without_a_fare_are_predicted_with_quantiles(fare: Ran, tmp_path: Path) -> None:
    new, out = tmp_path / "new.csv", tmp_path / "out.parquet"
    new.write_text(
        "trip_start_timestamp,trip_miles,trip_seconds,pickup_community_area,dropoff_community_area,company,payment_type\n"
        "1485907200,2.5,600,8,32,,Cash\n"
        "1485907200,17.4,2400,76,8,A company that is new,Credit Card\n"
    )
    issued = issue(fare, new, out)
    by_miles = sorted(row.mean for row in issued.rows)
    assert 5 < by_miles[0] < 15
    assert 30 < by_miles[1] < 60
    table = pl.read_parquet(out)
    assert table.height == 2
    assert table["row"].n_unique() == 2
    assert (table["q0.05"] <= table["q0.95"]).all()
    assert (table["q0.025"] >= 0).all(), "a fare is not below the target's minimum"


def test_new_trips_without_a_tip_are_given_a_probability(tip: Ran, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text(
        "trip_start_timestamp,fare,trip_miles,trip_seconds,pickup_community_area,company,payment_type\n"
        "1485907200,8.5,2.5,600,8,,Cash\n"
        "1485907200,8.5,2.5,600,8,,Credit Card\n"
    )
    issued = issue(tip, new)
    low, high = sorted(row.mean for row in issued.rows)
    assert low < 0.05
    assert high > 0.4


def test_trips_whose_tip_is_not_published_yet_are_predicted_in_the_run(trips: Path, tmp_path: Path) -> None:
    job = quick("chicago-taxi-tip")
    done = run(job, tmp_path, trips, now=datetime(2016, 6, 1, tzinfo=UTC))
    data = pl.read_csv(trips, columns=["trip_start_timestamp"])["trip_start_timestamp"]
    midnight = int(datetime(2016, 6, 1, tzinfo=UTC).timestamp())
    assert done.summary.scorecard.sources[0].rows == int((data <= midnight).sum())
    assert done.report.open_rows == int(((data <= midnight) & (data > midnight - 86400)).sum())


def test_a_repeat_finds_the_same_and_a_refit_is_judged_against_the_incumbent(trips: Path, tmp_path: Path) -> None:
    job = quick("chicago-taxi-tip")
    before = run(job, tmp_path, trips, now=datetime(2016, 6, 1, tzinfo=UTC))
    first, again = run(job, tmp_path, trips), run(job, tmp_path, trips)
    assert first.summary == again.summary
    assert before.summary.scorecard.verdict.reason == "BetterThanBaseline"
    assert first.summary.scorecard.verdict.message.startswith("the refit's LogLoss")
    assert first.summary.scorecard.tried == 1


def test_trips_that_ended_a_month_ago_are_all_that_verify_finds_wrong(fare: Ran) -> None:
    done = verify(fare.job, workdir=fare.workdir, now=NOW)
    assert done.verdict == "NOT READY: data trips"
    assert {check.state for check in done.checks if check.name in {"run", "tables", "schemas", "gate", "quality"}} == {
        "pass"
    }


def test_a_past_year_is_judged_by_itself(trips: Path, tmp_path: Path) -> None:
    found = run_backtest(
        quick("chicago-taxi-fare"),
        base=EXAMPLES,
        workdir=tmp_path,
        now=NOW,
        sources={"trips": str(trips)},
        workers=1,
        start=datetime(2015, 1, 1, tzinfo=UTC),
        end=datetime(2015, 12, 31, tzinfo=UTC),
        progress=quiet,
    )
    times = pl.read_csv(trips, columns=["trip_start_timestamp"])["trip_start_timestamp"]
    year = [int(datetime(one, 1, 1, tzinfo=UTC).timestamp()) for one in (2015, 2016)]
    assert found.scorecard.rows == int(times.is_between(*year, closed="left").sum())
    champion = found.scorecard.contender("xgboost")
    assert champion.skill is not None
    assert champion.skill > 0.4


def test_the_tip_cannot_be_told_by_itself(trips: Path, tmp_path: Path) -> None:
    job = quick("chicago-taxi-tip", features=[{"columns": {"columns": ["trips.fare", "trips.tips"]}}])
    with pytest.raises(LeakageError, match=r"feature trips\.tips: the target is made of it"):
        run(job, tmp_path, trips)


def test_bad_trips_leave_no_run_and_what_was_there_as_it_was(trips: Path, tmp_path: Path) -> None:
    job = quick("chicago-taxi-fare")
    done = run(job, tmp_path, trips)
    bad = tmp_path / "bad.csv"
    bad.write_text("trip_start_timestamp,fare\n1485907200,twelve\n")
    with pytest.raises(DataError, match=r"no column 'trip_miles'|the target 'fare' holds text"):
        run(job, tmp_path, bad)
    runs = tmp_path / "runs" / "default.chicago-taxi-fare"
    assert [path.name for path in runs.iterdir() if not path.name.startswith(".")] == [done.directory.name]


def test_a_second_source_is_refused(trips: Path, tmp_path: Path) -> None:
    job = quick("chicago-taxi-fare")
    weather = job.spec.sources[0].model_copy(update={"name": "weather"})
    two = job.model_copy(update={"spec": job.spec.model_copy(update={"sources": (*job.spec.sources, weather)})})
    with pytest.raises(NotSupportedError, match="'weather' holds other rows"):
        run(two, tmp_path, trips)
