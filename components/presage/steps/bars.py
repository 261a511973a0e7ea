"""A run of task Forecast: how its bars are read, judged and forecast."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from presage.evaluation.conditions import conditions
from presage.evaluation.season import season_of
from presage.evaluation.walk import Walk
from presage.evaluation.walk_forward import WalkForward
from presage.features.config import FeatureConfig
from presage.frame import to_table
from presage.lake.content import digest
from presage.lake.tables import Lake, TableVersion
from presage.models.bundle import read_bundle
from presage.report.data import IssuedForecast, Report
from presage.sinks.tables import Data
from presage.spec.forecast import ForecastSummary
from presage.spec.job import PredictionJob
from presage.steps.forecast import forecast_summary, forecasts_table, next_forecasts, write_forecast
from presage.steps.ingest import Ingested, ingest
from presage.steps.leak_check import require_no_leaks
from presage.steps.places import replace_sources
from presage.steps.records import Forecast, Judged, NewRun
from presage.steps.select import Built, build_panel, select_features
from presage.steps.sink import Results, sink_results
from presage.steps.train import train
from presage.steps.walked import Walked
from presage.steps.workdir import BUNDLE, job_key
from presage.tasks import Engine

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobBars:
    """The bars of a job's sources, and the series that they make."""

    job: PredictionJob
    lake: Lake
    ingested: Ingested
    built: Built

    @cached_property
    def _walk(self) -> WalkForward:
        spec = self.job.spec
        season = season_of(spec, self.ingested.bars[spec.target.source].calendar)
        return WalkForward(self.built.panel, spec, season=season)

    @property
    def entrants(self) -> tuple[str, ...]:
        """Names of the contenders that are fitted: baselines first, then candidates in the job's order."""
        return tuple(one.name for one in self._walk.entrants)

    def select(self, engine: Engine) -> tuple[FeatureConfig, ...]:
        """Return what each fold keeps of the features.

        Raises:
            DataError: There is too little to train on.
            LeakageError: A feature uses what was not known yet.
        """
        require_no_leaks(self.job.spec, self.ingested.bars, self.built.panel)
        return self._walk.select(engine)

    def walk(
        self, selections: tuple[FeatureConfig, ...], engine: Engine, only: Collection[str] | None = None
    ) -> dict[str, Walk]:
        """Return the walks of entrants by name, of all where none is named; raises DataError where one cannot learn."""
        return self._walk.walk(selections, engine, only)

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """By name, the digests of all that the run sees: of each source's rows, and of the bars that are known of them.

        Of the same rows, more bars are known on a later day.
        """
        rows = {name: version.digest for name, version in self.ingested.tables.items()}
        return rows | {f"bars/{name}": digest(bars.rows) for name, bars in self.ingested.bars.items()}

    @property
    def results(self) -> Mapping[Data, Callable[[], Results]]:
        """What gives a sink's data."""
        return sink_results(self.job, self.lake, self.ingested, self.built.panel)

    def judge(self, new: NewRun, walked: Walked) -> Judged:
        """Select features, judge, train the champion, whose bundle is written, and forecast with it.

        Raises:
            DataError: There is too little to train or to judge on.
        """
        for source in self.ingested.summaries:
            event = {"source": source.name, "bars": source.rows, "digest": source.digest}
            _LOG.info("source read", extra={**new.names, **event})
        config = select_features(self.job, self.built.panel, now=new.made_at, directory=new.directory)
        tested = self._walk.gather(walked.selections, walked.walks)
        trained = train(self.job, self.built, self.ingested, new, tested)
        verdict = trained.scorecard.verdict
        forecast = self.forecast(new.directory, run=new.run, model=verdict.champion, promoted=verdict.promoted)
        write_forecast(new.directory, forecast.summary)
        return Judged(
            scorecard=trained.scorecard,
            conditions=conditions(trained.scorecard),
            trials=trained.trials,
            tables={**self.ingested.tables, **self.derived()},
            forecast=forecast.table,
            report=partial(
                Report,
                back_test=tested,
                bars=self.ingested.bars[self.job.spec.target.source],
                forecasts=forecast.shown,
                config=config,
            ),
        )

    def forecast(
        self, directory: Path, *, run: str, model: str, promoted: bool
    ) -> Forecast[tuple[IssuedForecast, ...], ForecastSummary]:
        """Return the next forecast of the bundle in a run's directory.

        Args:
            directory: The run's directory.
            run: The run.
            model: What was fitted.
            promoted: Whether it is a promoted model.

        Raises:
            DataError: It has no forecast of any series.
            LakeError: It is damaged.
        """
        bundle, files = read_bundle(directory / BUNDLE)
        forecasts = next_forecasts(self.built.panel, bundle, files)
        panel = bool(bundle.panel)
        return Forecast(
            shown=forecasts,
            table=forecasts_table(forecasts),
            summary=forecast_summary(self.job, forecasts, run=run, model=model, promoted=promoted, panel=panel),
        )

    def derived(self) -> dict[str, TableVersion]:
        """Write the bars and the frames to the lake; what they already hold is not written again.

        Raises:
            LakeConflictError: Others kept writing to a table.
            StorageError: The lake cannot be written to.
        """
        key, bars = job_key(self.job), self.ingested.bars
        tables = {f"bars/{name}": self.lake.write(f"bars/{key}/{name}", one.rows) for name, one in bars.items()}
        tables["frame"] = self.lake.write(f"frames/{key}", to_table(self.built.panel))
        return tables


def read_bars(job: PredictionJob, lake: Lake, *, base: Path, now: datetime, sources: Mapping[str, str]) -> JobBars:
    """Read a job's sources, keep their rows in the lake, and build the series of its target.

    Args:
        job: The job.
        lake: The lake.
        base: Folder that relative paths start from.
        now: When the rows are got, UTC; rows known later are left out.
        sources: By name, the URIs of sources that are read from another place.

    Raises:
        DataError: A source's data cannot be used as declared, or no series can be learnt.
        JobError: A source that is replaced is not the job's.
        LakeConflictError: Others kept writing to a table.
        StorageError: The lake cannot be written to.
    """
    ingested = ingest(replace_sources(job, sources), lake, base=base, now=now)
    return JobBars(job=job, lake=lake, ingested=ingested, built=build_panel(job, ingested.bars))
