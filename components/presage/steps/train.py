"""The third step: walk forward, judge every contender, and fit the champion on all that is known."""

from __future__ import annotations

from dataclasses import dataclass

from presage.evaluation.backtest import BackTest
from presage.evaluation.contenders import Contender, contenders
from presage.evaluation.final_fit import final_fit, training_window
from presage.evaluation.intervals import calibrate_all
from presage.evaluation.judge import judge
from presage.evaluation.scorecard import Scorecard
from presage.evaluation.season import season_of
from presage.evaluation.trials import Trial, merge
from presage.features.config import from_json
from presage.frame import Panel, moment
from presage.models.bundle import (
    Bundle,
    BundleSeries,
    ConformalState,
    share_files,
    write_bundle,
)
from presage.models.contract import Task
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.job import PredictionJob
from presage.steps.frame_schema import frame_schema
from presage.steps.ingest import Ingested
from presage.steps.records import NewRun
from presage.steps.select import Built
from presage.steps.workdir import BUNDLE, FEATURES


@dataclass(frozen=True)
class Trained:
    """What training found.

    Attributes:
        scorecard: The judgement.
        trials: The job's history of what was tried, this run's candidates included.
    """

    scorecard: Scorecard
    trials: tuple[Trial, ...]


def train(job: PredictionJob, built: Built, ingested: Ingested, new: NewRun, tested: BackTest) -> Trained:
    """Judge a back-test of the job's contenders, and write the champion's bundle.

    Args:
        job: The job.
        built: The series of the target.
        ingested: What the sources gave.
        new: The run; its directory holds the feature config and gets the bundle.
        tested: The back-test.

    Raises:
        DataError: There is too little to train or to judge on.
    """
    config = from_json((new.directory / FEATURES).read_text())
    panel, target = built.panel, job.spec.target
    season = season_of(job.spec, ingested.bars[target.source].calendar)
    scorecard, trials = judge(
        tested,
        job.spec,
        procedure=procedure_digest(job),
        history=new.history,
        incumbent=new.incumbent,
        sources=ingested.summaries,
        config=config,
        unit=job.spec.source(target.source).units.get(target.column, ""),
        season=season,
        left_out=built.left_out,
    )
    champion = _contender(job, panel, scorecard.verdict.champion, season)
    forecasters = final_fit(panel, job.spec, champion, season=season, config=config, tested=tested)
    window = training_window(panel, job.spec.evaluation)
    states = _conformal(job, tested, champion.name)
    many = len(panel) > 1
    bundle = Bundle(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        spec_digest=spec_digest(job),
        lock_digest=new.lock_digest,
        seed=job.spec.seed,
        model=champion.model.name,
        parameters=champion.model.parameters,
        features=config.kept,
        frame=frame_schema(job, ingested.bars, series=tuple(forecasters), features=config.kept),
        transform=target.transform,
        horizon=target.horizon,
        season=season,
        frequency=job.spec.frequency,
        train_start=moment(window.dates[0]),
        train_end=moment(window.dates[-1]),
        conformal=ConformalState() if many else states[panel.names[0]],
        panel=tuple(BundleSeries(name=name, conformal=states[name]) for name in forecasters) if many else (),
        created_at=new.made_at,
    )
    write_bundle(
        new.directory / BUNDLE, bundle, share_files([forecaster.dump() for forecaster in forecasters.values()])
    )
    return Trained(scorecard=scorecard, trials=merge(new.history, trials))


def _contender(job: PredictionJob, panel: Panel, name: str, season: int) -> Contender:
    task = Task(job.spec.target.transform, job.spec.target.horizon, season, job.spec.seed)
    return next(one for one in contenders(job.spec, task, panel) if one.name == name)


def _conformal(job: PredictionJob, tested: BackTest, champion: str) -> dict[str, ConformalState]:
    """Return the state of each series' intervals after everything that is known of it, by its name."""
    parts = [tested.of(place) for place in range(len(tested.panel))]
    walked = [part for part in parts if len(part.rows)]
    _, states = calibrate_all(
        [(part.frame, part.rows, part.forecasts[champion].mean) for part in walked],
        transform=job.spec.target.transform,
        probabilities=tested.probabilities,
        intervals=job.spec.evaluation.intervals,
        minimum=job.spec.target.minimum,
    )
    empty = {name: ConformalState() for name in tested.panel.names}
    return empty | {
        part.panel.names[0]: ConformalState(
            probabilities=state.probabilities, offsets=state.offsets, minimum=state.minimum
        )
        for part, state in zip(walked, states, strict=True)
    }
