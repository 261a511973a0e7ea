"""The third step: back-test every contender, judge them, and fit the champion on all that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from presage.evaluation.backtest import BackTest
from presage.evaluation.contenders import Contender, contenders, final_fit, training_window
from presage.evaluation.intervals import calibrate
from presage.evaluation.judge import judge
from presage.evaluation.scorecard import Scorecard
from presage.evaluation.trials import Trial, merge
from presage.evaluation.walk_forward import back_test
from presage.features.config import from_json
from presage.frame import Frame
from presage.models.bundle import Bundle, ConformalState, write_bundle
from presage.models.contract import Task
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.steps.ingest import Ingested
from presage.steps.workdir import BUNDLE, FEATURES
from presage.tasks import Engine


@dataclass(frozen=True)
class Trained:
    """What training found.

    Attributes:
        back_test: Forecasts of all contenders.
        scorecard: The judgement.
        trials: The job's history of what was tried, this run's candidates included.
    """

    back_test: BackTest
    scorecard: Scorecard
    trials: tuple[Trial, ...]


def train(
    job: PredictionJob,
    frame: Frame,
    ingested: Ingested,
    *,
    season: int,
    history: Sequence[Trial],
    incumbent: Trial | None,
    engine: Engine,
    now: datetime,
    directory: Path,
) -> Trained:
    """Back-test and judge the job's contenders, and write the champion's bundle.

    Args:
        job: The job.
        frame: The target's frame.
        ingested: What the sources gave.
        season: Bars in a season.
        history: Configurations that the job tried before.
        incumbent: The served model's losses, where a candidate is served.
        engine: What runs the fits.
        now: When the run is made, UTC.
        directory: The run's directory, which holds the feature config and gets the bundle.

    Raises:
        DataError: There is too little to train or to judge on.
    """
    config = from_json((directory / FEATURES).read_text())
    tested = back_test(frame, job.spec, season=season, engine=engine)
    target = job.spec.target
    scorecard, trials = judge(
        tested,
        job.spec,
        procedure=procedure_digest(job),
        history=history,
        incumbent=incumbent,
        sources=ingested.summaries,
        config=config,
        unit=job.spec.source(target.source).units.get(target.column, ""),
        season=season,
    )
    champion = _contender(job, frame, scorecard.verdict.champion, season)
    forecaster = final_fit(frame, job.spec, champion, season=season, config=config)
    window = training_window(frame, job.spec.evaluation)
    bundle = Bundle(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        spec_digest=spec_digest(job),
        model=champion.model.name,
        parameters=champion.model.parameters,
        features=config.kept,
        transform=target.transform,
        horizon=target.horizon,
        season=season,
        frequency=job.spec.frequency,
        train_start=_moment(window.time[0]),
        train_end=_moment(window.time[-1]),
        conformal=_conformal(job, tested, champion.name),
        created_at=now,
    )
    write_bundle(directory / BUNDLE, bundle, forecaster.dump())
    return Trained(back_test=tested, scorecard=scorecard, trials=merge(history, trials))


def _contender(job: PredictionJob, frame: Frame, name: str, season: int) -> Contender:
    task = Task(job.spec.target.transform, job.spec.target.horizon, season, job.spec.seed)
    return next(one for one in contenders(job.spec, task, frame.level) if one.name == name)


def _conformal(job: PredictionJob, tested: BackTest, champion: str) -> ConformalState:
    _, state = calibrate(
        tested.frame,
        tested.rows,
        tested.forecasts[champion].mean,
        transform=job.spec.target.transform,
        probabilities=tested.probabilities,
        intervals=job.spec.evaluation.intervals,
        minimum=job.spec.target.minimum,
    )
    return ConformalState(probabilities=state.probabilities, offsets=state.offsets, minimum=state.minimum)


def _moment(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
