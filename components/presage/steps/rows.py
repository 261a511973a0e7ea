"""A run of task Regression or Classification: how its rows are read, judged and predicted from themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from presage.evaluation.conditions import conditions
from presage.evaluation.numbers import count
from presage.evaluation.scorecard import Condition, Scorecard
from presage.evaluation.trials import merge
from presage.evaluation.walk import Walk
from presage.features.config import FeatureConfig, to_json
from presage.files import write_atomically
from presage.lake.tables import Lake
from presage.report.tabular_data import TableReport
from presage.sinks.tables import Data
from presage.spec.digest import procedure_digest
from presage.spec.job import PredictionJob
from presage.steps.ingest_rows import IngestedRows, ingest_rows
from presage.steps.leak_check import require_no_row_leaks
from presage.steps.places import replace_sources
from presage.steps.records import Forecast, Judged, NewRun
from presage.steps.sink import Results, issued_results
from presage.steps.walked import Walked
from presage.steps.workdir import BUNDLE, FEATURES
from presage.tabular.design import Design, Inputs, inputs_of
from presage.tabular.held import first_published
from presage.tabular.judge import judge_rows, with_features
from presage.tabular.model import read_model, write_model
from presage.tabular.predictions import (
    RowForecast,
    RowForecastSummary,
    predict_open,
    prediction_summary,
    prediction_table,
)
from presage.tabular.rows import kinds_of
from presage.tabular.walk import RowWalkForward, entrants, fit_final
from presage.tasks import Engine

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobRows:
    """The rows of a job's source, as they were known at a moment, UTC; `replaced` where they are of another place."""

    job: PredictionJob
    lake: Lake
    ingested: IngestedRows
    known_at: datetime
    replaced: bool = False

    @cached_property
    def _inputs(self) -> Inputs:
        return inputs_of(self.job.spec, kinds_of(self.ingested.observations.table))

    @cached_property
    def _walk(self) -> RowWalkForward:
        return RowWalkForward(self.ingested.observations, self._inputs, self.job.spec)

    @property
    def entrants(self) -> tuple[str, ...]:
        """Names of the contenders: the baseline, then candidates in the job's order."""
        return tuple(one.name for one in self._walk.entrants)

    def select(self, engine: Engine) -> tuple[FeatureConfig, ...]:
        """Return what each fold keeps of the features.

        Raises:
            DataError: There is too little to train on.
            JobError: A feature is none for rows.
            LeakageError: A feature tells the target.
        """
        require_no_row_leaks(self.ingested.observations, self._inputs)
        return self._walk.select(engine)

    def walk(
        self, selections: tuple[FeatureConfig, ...], engine: Engine, only: Collection[str] | None = None
    ) -> dict[str, Walk]:
        """Return the walks of entrants by name, of all where none is named; raises DataError where one cannot learn."""
        return self._walk.walk(selections, engine, only)

    @property
    def digests(self) -> Mapping[str, str]:
        """By name, the digests of all that the run sees: of the source's rows, as they were known."""
        return {self.job.spec.target.source: self.ingested.summary.digest}

    @property
    def results(self) -> Mapping[Data, Callable[[], Results]]:
        """What gives a sink's data: the rows, each once with its first outcome, and what was predicted of open ones.

        Rows of another place are not given: where one has the cells of a row of the job's source, it has its identity
        too, and would take its place.
        """
        target = self.job.spec.target

        def rows() -> Results:
            if self.replaced:
                return {}
            return {target.source: first_published(self.lake.read(self.ingested.version), target.column)}

        return {"rows": rows, "predictions": lambda: issued_results(self.job, self.lake)}

    def judge(self, new: NewRun, walked: Walked) -> Judged:
        """Judge, train the champion, whose bundle is written, and predict open rows with it.

        Raises:
            DataError: There is too little to train or to judge on.
            NotSupportedError: The metric is none for rows.
        """
        job, spec = self.job, self.job.spec
        source, version = spec.target.source, self.ingested.version
        _LOG.info("source read", extra={**new.names, "source": source, "rows": version.rows})
        tested = self._walk.gather(walked.selections, walked.walks)
        scorecard, trials = judge_rows(
            tested,
            spec,
            procedure=procedure_digest(job),
            history=new.history,
            incumbent=new.incumbent,
            sources=(self.ingested.summary,),
        )
        champion = next(one for one in entrants(spec) if one.name == scorecard.verdict.champion)
        final = fit_final(tested, self._inputs, spec, champion)
        scorecard = with_features(scorecard, final.config)
        write_model(
            new.directory / BUNDLE,
            job,
            final,
            tested.probabilities,
            lock_digest=new.lock_digest,
            now=new.made_at,
        )
        write_atomically(new.directory / FEATURES, to_json(final.config))
        forecast = self._predict(new.directory)
        return Judged(
            scorecard=scorecard,
            conditions=_conditions(scorecard),
            trials=merge(new.history, trials),
            tables={source: version},
            forecast=prediction_table(forecast),
            report=partial(TableReport, back_test=tested, open_rows=len(forecast), config=final.config),
        )

    def forecast(
        self, directory: Path, *, run: str, model: str, promoted: bool
    ) -> Forecast[RowForecast, RowForecastSummary]:
        """Return the predictions of open rows by the bundle in a run's directory.

        Args:
            directory: The run's directory.
            run: The run.
            model: What was fitted.
            promoted: Whether it is a promoted model.

        Raises:
            DataError: The rows lack a column that the model learnt from.
            LakeError: The bundle is damaged.
        """
        forecast = self._predict(directory)
        return Forecast(
            shown=forecast,
            table=prediction_table(forecast),
            summary=prediction_summary(
                forecast,
                job=self.job.metadata.name,
                namespace=self.job.metadata.namespace,
                run=run,
                model=model,
                promoted=promoted,
            ),
        )

    def _predict(self, directory: Path) -> RowForecast:
        return predict_open(self.ingested.observations, read_model(directory / BUNDLE), now=self.known_at)


def read_rows(
    job: PredictionJob,
    lake: Lake,
    *,
    base: Path,
    now: datetime,
    sources: Mapping[str, str],
    design: Design | None = None,
) -> JobRows:
    """Read a job's source, and keep its rows in the lake.

    The arguments and errors are as of `ingest_rows`; `sources` has by name the URI of one that is read from another
    place, and a JobError tells of one that is not the job's.
    """
    placed = replace_sources(job, sources)
    ingested = ingest_rows(placed, lake, base=base, now=now, design=design)
    return JobRows(job=job, lake=lake, ingested=ingested, known_at=now, replaced=job.spec.target.source in sources)


def _conditions(scorecard: Scorecard) -> tuple[Condition, ...]:
    """Return the conditions of a run, in words of rows and periods."""
    rows = ", ".join(f"{source.name} {count(source.rows)} rows" for source in scorecard.sources)
    scored = (
        f"{count(scorecard.rows or 0)} rows of {count(scorecard.evidence.origins)} periods scored by {scorecard.metric}"
    )
    messages = {"DataReady": rows, "Evaluated": scored}
    return tuple(
        one.model_copy(update={"message": messages[one.type]}) if one.type in messages else one
        for one in conditions(scorecard)
    )
