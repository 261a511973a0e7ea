"""Leaks among rows that are predicted from themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from presage.errors import DataError
from presage.evaluation.losses import Losses
from presage.features.truncation import first_unequal
from presage.frame import KNOWN_AT, TIME, BoolArray, FloatArray, TimeArray, moment
from presage.leakage.finding import Finding, leak, passed, skipped
from presage.leakage.scale import NAME as SCALE
from presage.leakage.scale import scaled
from presage.leakage.shuffled import NAME as SHUFFLED
from presage.leakage.shuffled import cheapest, judge_skill, shuffle_rows
from presage.leakage.truncation import MOST_LEAKS
from presage.leakage.truncation import NAME as TRUNCATION
from presage.spec.job import PredictionJobSpec
from presage.tabular.design import Inputs, fit_design
from presage.tabular.leakage import LEAST_ROWS, copies
from presage.tabular.metrics import roc_area
from presage.tabular.observations import Observations
from presage.tabular.scores import score_rows
from presage.tabular.walk import table_task, walk
from presage.tasks import Engine

COPIES = "target in columns"
NEARLY = 0.999
"""Squared correlation with the target, of values or of ranks, or area under the ROC curve, from which on a column is
the target but for a few rows."""
_ABSENT: FloatArray = np.empty(0)

Known = Callable[[np.datetime64], Observations]


def check_copies(observations: Observations, inputs: Inputs) -> tuple[Finding, ...]:
    """Tell which columns are the target under another name, without an exception or with few."""
    found = [
        leak(
            COPIES,
            "target among the features",
            f"Over {rows:,} rows it tells the target without an exception.",
            column=f"{inputs.source}.{name}",
            time=moment(observations.time[0]),
            row=0,
        )
        for name, rows in copies(observations, inputs)
    ]
    exact = {one.column for one in found}
    near = check_likeness(observations, inputs)
    found += [one for one in near if one.state == "fail" and one.column not in exact]
    return tuple(found) or near


def check_likeness(observations: Observations, inputs: Inputs) -> tuple[Finding, ...]:
    """Tell which columns of numbers are the target but for a few rows."""
    settled = observations.settled
    found = []
    largest, whose = 0.0, ""
    for name, kind in inputs.columns.items():
        if kind != "number":
            continue
        column = f"{inputs.source}.{name}"
        told = likeness(settled.table[name].cast(pl.Float64).fill_null(np.nan).to_numpy(), settled.outcome)
        if told >= NEARLY:
            message = f"It tells the target but for a few rows: {told:.4f} of 1, where {NEARLY:g} is a copy."
            first = moment(observations.time[0])
            found.append(leak(COPIES, "target among the features", message, column=column, time=first, row=0))
        elif told > largest:
            largest, whose = told, column
    most = f"; {whose} tells most of it, {largest:.3f} of 1" if whose else ""
    return tuple(found) or (passed(COPIES, f"none of {len(inputs.columns)} columns is the target or nearly so{most}"),)


def likeness(values: FloatArray, outcome: FloatArray) -> float:
    """Return how far a column tells an outcome by itself, from 0 to 1; 0 where there are too few rows."""
    from scipy import stats  # noqa: PLC0415  # slow to load, and a run that finds itself done needs none

    there = np.isfinite(values)
    values, outcome = values[there], outcome[there]
    if len(values) < LEAST_ROWS or np.ptp(values) == 0 or np.ptp(outcome) == 0:
        return 0.0
    if np.isin(outcome, (0.0, 1.0)).all():
        area = roc_area(outcome, values) if min((outcome == 1).sum(), (outcome == 0).sum()) >= LEAST_ROWS else None
        return 0.0 if area is None else max(area, 1 - area)
    ranks = stats.rankdata(values), stats.rankdata(outcome)
    pairs = ((values, outcome), ranks)
    return max(float(np.corrcoef(*pair)[0, 1] ** 2) for pair in pairs)


def check_scales(observations: Observations, inputs: Inputs) -> tuple[Finding, ...]:
    """Tell which columns were scaled by what only their whole history tells."""
    found = []
    for name, kind in inputs.columns.items():
        if kind == "number":
            how = scaled(observations.table[name].cast(pl.Float64).fill_null(np.nan).to_numpy())
            if how:
                message = f"Over all {len(observations):,} rows {how}: it was scaled by what came later."
                found.append(
                    leak(
                        SCALE,
                        "transform fitted on the future",
                        message,
                        column=f"{inputs.source}.{name}",
                        time=moment(observations.time[0]),
                        row=0,
                    )
                )
    return tuple(found) or (passed(SCALE, "no column was scaled on its whole history"),)


def as_known(rows: pl.DataFrame, target: str, cutoff: np.datetime64) -> pl.DataFrame:
    """Return rows of `presage.tabular.rows` as they were known at a moment: later outcomes are missing."""
    at = moment(cutoff)
    outcome = pl.when(pl.col(KNOWN_AT) <= at).then(pl.col(target)).otherwise(None)
    return rows.filter(pl.col(TIME) <= at).with_columns(outcome.alias(target))


def check_design(
    full: Observations, known: Known, inputs: Inputs, spec: PredictionJobSpec, cutoffs: TimeArray
) -> tuple[Finding, ...]:
    """Compare the features of the rows that were known at each cut-off with those from all rows.

    At each cut-off categories are learnt in the window of rows whose outcome was known; of the features both the
    window's and those of the rows that then waited for an outcome are compared.

    Args:
        full: All rows as they stand now.
        known: Gives the rows as they stood at a moment.
        inputs: What features are made of.
        spec: The job.
        cutoffs: (n,) datetime64[us], UTC.
    """
    found: dict[str, Finding] = {}
    compared = 0
    for cutoff in cutoffs:
        there = full.take(np.flatnonzero(full.time <= cutoff))
        settled = there.known_at <= cutoff  # NaT compares as False
        then = known(cutoff)
        if not settled.any():
            continue
        compared += 1
        names, ours = _features(there, settled, inputs, spec)
        other_names, theirs = _features(then, np.isfinite(then.outcome), inputs, spec)
        for name in [*names, *(one for one in other_names if one not in names)]:
            row = first_unequal(ours.get(name, _ABSENT), theirs.get(name, _ABSENT))
            if row is not None and name not in found:
                found[name] = leak(
                    TRUNCATION,
                    "rows known later",
                    f"{name} of the row of {there.time[row]}Z is another from all rows than from those known at "
                    f"{cutoff}Z.",
                    column=name,
                    time=moment(there.time[row]),
                    row=row,
                )
    if found:
        return tuple(found.values())[:MOST_LEAKS]
    if not compared:
        return (skipped(TRUNCATION, "no outcome was known at any moment that was looked at"),)
    return (
        passed(
            TRUNCATION,
            f"features of the rows that were known at {compared} moments are those of all rows, to the bit",
        ),
    )


def _features(
    rows: Observations, settled: BoolArray, inputs: Inputs, spec: PredictionJobSpec
) -> tuple[tuple[str, ...], dict[str, FloatArray]]:
    design = fit_design(inputs, rows.table.filter(pl.Series(settled)), table_task(spec))
    matrix = design.matrix(rows.table)
    return design.names, {name: matrix[:, place] for place, name in enumerate(design.names)}


def choose_row_cutoffs(settled: Observations, *, count: int, seed: int) -> TimeArray:
    """Return moments in the later half of the rows, one in each of as many equal parts; ascending, each once."""
    later: TimeArray = settled.time[len(settled) // 2 :]
    if not len(later):
        return later
    generator = np.random.default_rng(seed)
    parts: Sequence[TimeArray] = np.array_split(later, min(count, len(later)))
    return np.unique(np.array([generator.choice(part) for part in parts]))


def check_shuffled_rows(
    observations: Observations, inputs: Inputs, spec: PredictionJobSpec, *, engine: Engine, seed: int
) -> Finding:
    """Walk forward over rows whose outcomes are shuffled in blocks; see `presage.leakage.shuffled`."""
    learner = cheapest(spec)
    spec = spec.model_copy(update={"models": (learner,)})
    shuffled = shuffle_rows(observations.settled, np.random.default_rng(seed))
    try:
        tested = walk(shuffled, inputs, spec, engine=engine)
        last = tested.fold == tested.folds[-1].number
        later = np.isin(np.arange(len(shuffled)), tested.rows[last])
        changed = walk(_changed(shuffled, later, spec), inputs, spec, engine=engine)
        # By the absolute error a median, and by the log loss a prevalence, is the best that knows no features.
        losses: Losses = score_rows(tested, "LogLoss" if spec.task == "Classification" else "MAE").losses
    except DataError as error:
        return skipped(SHUFFLED, error.what)
    row = first_unequal(*(one.predictions[learner.name].mean[last] for one in (tested, changed)))
    if row is not None:
        time = shuffled.time[tested.rows[last][row]]
        return leak(
            SHUFFLED,
            "outcomes reach the fit",
            f"The prediction of {learner.name} of the row of {time}Z changes with outcomes of its own block.",
            column=f"{spec.target.source}.{spec.target.column}",
        )
    (benchmark,) = losses.baselines
    return judge_skill(losses.by_contender[benchmark], losses.by_contender[learner.name], 1, learner.name)


def _changed(rows: Observations, later: BoolArray, spec: PredictionJobSpec) -> Observations:
    other = 1 - rows.outcome if spec.task == "Classification" else rows.outcome + np.abs(rows.outcome) + 1
    return Observations(rows.table, rows.time, rows.known_at, np.where(later, other, rows.outcome))
