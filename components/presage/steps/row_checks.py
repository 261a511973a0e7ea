"""What `presage verify` looks at in a job over rows: schema, how new the rows are, quality, and the predictions."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from presage.errors import LakeError, PresageError
from presage.evaluation.scorecard import Scorecard
from presage.features.definitions import require_column
from presage.frame import INGESTED_AT, KNOWN_AT, TIME, TimeArray, moment
from presage.lake.tables import TableVersion
from presage.spec.job import PredictionJob
from presage.steps.checks import ISSUE, RUN_AGAIN, Check, Installation, check_intervals, failed, lateness, skill
from presage.steps.promote import read_champions
from presage.steps.staleness import row_due
from presage.steps.workdir import BUNDLE, issued_table
from presage.tabular.design import inputs_of
from presage.tabular.folds import periods_of
from presage.tabular.held import first_published
from presage.tabular.judge import MISCALIBRATED
from presage.tabular.model import read_model
from presage.tabular.observations import Observations, observe
from presage.tabular.rows import ROW, kinds_of


def check_schema(seen: Installation) -> Check:
    """Look whether the rows of the newest run have what the target and the features need."""
    target = seen.job.spec.target
    version = seen.manifest.tables.get(target.source)
    if version is None:
        message = f"the newest run has no rows of source {target.source!r}"
        return Check(name="schemas", state="fail", message=message, remedy=RUN_AGAIN)
    try:
        kinds = kinds_of(_held(seen, version))
        inputs_of(seen.job.spec, kinds)
    except PresageError as error:
        return failed("schemas", error)
    message = f"{len(kinds)} columns of {target.source} have what the target and the features need"
    return Check(name="schemas", state="pass", message=message)


def read_observations(seen: Installation) -> Observations:
    """Return the rows of a job's source as they stand at the moment; they need not be of a run yet.

    Raises:
        DataError: A class is neither 0 nor 1, or the rows lack a column that the target is made of.
        JobError: The target's `relativeTo` is no column that holds numbers.
        LakeError: There are no rows.
    """
    target = seen.job.spec.target
    pinned = seen.manifest.tables.get(target.source)
    version = None if pinned is None else seen.lake.current(pinned.table)
    if version is None:
        raise LakeError("the lake holds no row of it.", RUN_AGAIN)
    return observe(first_published(_held(seen, version), target.column), seen.job.spec, seen.now)


def _held(seen: Installation, version: TableVersion) -> pl.DataFrame:
    """Return what a version holds of the target's source: rows that have all that an outcome is made of.

    Raises:
        DataError: They lack a column that the target is made of.
        LakeError: The version is gone, or was changed by something else.
    """
    target = seen.job.spec.target
    rows = seen.lake.read(version, verify=False)
    absent = {ROW, TIME, KNOWN_AT, INGESTED_AT}.difference(rows.columns)
    if absent:
        raise LakeError(
            f"the rows of source {target.source!r} lack {', '.join(sorted(absent))}.", "Restore the lake from a copy."
        )
    for column in filter(None, (target.column, target.relative_to)):
        require_column(target.source, column, {target.source: list(kinds_of(rows))})
    return rows


def check_rows(seen: Installation, observations: Observations) -> Check:
    """Compare the newest row, and the newest whose outcome is known, with the moment at which another is due.

    Where a column tells when outcomes are published, nothing says until when one is due.
    """
    job, now = seen.job, seen.now
    source = job.spec.source(job.spec.target.source)
    name = f"data {source.name}"
    if not len(observations):
        return Check(name=name, state="fail", message="the lake holds no row of it", remedy=RUN_AGAIN)
    starts = np.unique(periods_of(observations.time, job.spec))
    periods = pl.DataFrame({TIME: pl.Series(starts).dt.replace_time_zone("UTC")})
    newest, due = _newest(job, observations.time, periods)
    message = f"newest row {newest:%Y-%m-%d %H:%M} UTC, another due by {due:%Y-%m-%d %H:%M}"
    if now > due:
        remedy = f"Refresh it: presage forecast FILE. If it stays so, source {source.name!r} has nothing new to give."
        return Check(name=name, state="fail", message=f"{message}: stale for {lateness(now - due)}", remedy=remedy)
    settled = observations.settled.time
    if source.availability.column is not None or not len(settled):
        return Check(name=name, state="pass", message=message)
    outcome, due = _newest(job, settled, periods)
    if now <= due:
        return Check(name=name, state="pass", message=message)
    message += f"; no outcome of a row after {outcome:%Y-%m-%d %H:%M} is known: stale for {lateness(now - due)}"
    remedy = f"Look whether source {source.name!r} still gives {job.spec.target.column!r}."
    return Check(name=name, state="warn", message=message, remedy=remedy)


def _newest(job: PredictionJob, time: TimeArray, periods: pl.DataFrame) -> tuple[datetime, datetime]:
    """Return the last of some times, and until when it may be the newest one."""
    newest = moment(time[-1])
    return newest, row_due(job, newest, periods)


def check_quality(job: PredictionJob, scorecard: Scorecard) -> Check:
    """Judge what is served: a Regression by the interval that the gate watches, a Classification by its calibration."""
    served = scorecard.contender(scorecard.verdict.champion)
    found = served.classification
    if found is None:
        return check_intervals(job, scorecard)
    message = (
        f"{skill(served)}; its probabilities are {100 * found.calibration_error:.1f} % off on average, "
        f"{100 * MISCALIBRATED:g} % are told as a caveat"
    )
    if found.calibration_error <= MISCALIBRATED:
        return Check(name="quality", state="pass", message=message)
    remedy = "Rely on the order of its probabilities more than on what they say; see presage report FILE."
    return Check(name="quality", state="warn", message=message, remedy=remedy)


def check_predictions(seen: Installation, observations: Observations) -> Check:
    """Look whether the champion can be read, and has predicted every row whose outcome is not known."""
    waiting = observations.open.table.select(ROW)
    try:
        champions = read_champions(seen.work.champion(seen.job))
        if champions is None:
            return Check(name="forecast", state="fail", message="there is no champion", remedy=RUN_AGAIN)
        champion = champions.current
        read_model(seen.work.run(seen.job, champion.run) / BUNDLE)
        version = seen.lake.current(issued_table(seen.job))
        issued = None if version is None else seen.lake.read(version, verify=False)
    except LakeError as error:
        return failed("forecast", error)
    if not waiting.height:
        message = f"{champion.model}; no row waits for its outcome"
        return Check(name="forecast", state="pass", message=message)
    if issued is not None:
        own = issued.filter(model=champion.model, inputs=champion.inputs)
        lacking = waiting.join(own, on=ROW, how="anti").height
    else:
        lacking = waiting.height
    if lacking:
        message = f"{champion.model} has not predicted {lacking:,} of {waiting.height:,} rows that wait for an outcome"
        return Check(name="forecast", state="fail", message=message, remedy=ISSUE)
    message = f"{champion.model} has predicted all {waiting.height:,} rows that wait for an outcome"
    return Check(name="forecast", state="pass", message=message)
