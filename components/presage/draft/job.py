"""A first job for a table: every field that the table suggests, with what suggests it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from presage.bars import build_bars
from presage.draft.names import job_name
from presage.draft.observations import ObservationsGuess, guess_observations
from presage.draft.opened import Opened, open_table
from presage.draft.series import are_observations, find_series
from presage.draft.source_lines import source_lines
from presage.draft.table import TableGuess, guess_table
from presage.draft.yaml_text import line, mapping, remark, scalar, sequence
from presage.evaluation.folds import make_folds
from presage.frame import KNOWN_AT
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJob
from presage.spec.load import parse_job
from presage.steps.select import build_panel
from presage.tabular.folds import make_row_folds
from presage.tabular.observations import observe

_LAG = (
    "CHECK: how long after the end of its period a row is published, which no table tells. 0s suits prices;",
    "statistics take days or weeks. Too short a lag lets the future leak in: scores look good and mean nothing.",
)
_ROW_LAG = (
    "CHECK: how long after a row's time the target of it is known, which no table tells. Too short a lag lets",
    "the future leak in: scores look good and mean nothing.",
)
_FEATURES_CHECK = "CHECK: take out what is not known before the target is, or the scores look good and mean nothing"
_WINDOWS = (1, 5, 22)
_CHANGES = {"Difference": "difference", "PercentChange": "percentChange", "LogChange": "logChange"}


def draft_job(table: Path, *, relative_to: Path) -> str:
    """Return the text of a job for a table, each guess explained beside it in a comment.

    A table over time, of one series or of several, gives a job that forecasts; one whose rows each stand for
    themselves, a Regression or a Classification. The job is one that runs: it is read back, and by it the table is
    read, made into bars where it has some, and divided into folds.

    Args:
        table: A CSV, CSV.gz or Parquet file.
        relative_to: Folder that the job file will be in; a file below it is named relative to it.

    Returns:
        YAML, fewer than 40 lines.

    Raises:
        DataError: There is no such file, it cannot be read, or no job can be made of it: no column of times, none of
            numbers, series that no column tells apart, or too few rows.
    """
    path = table.parent.resolve() / table.name
    opened = open_table(path, base=relative_to.resolve())
    series = find_series(opened.table, opened.times)
    rows = None
    if series is None and are_observations(opened.table, opened.times, opened.source):
        rows = guess_observations(opened)
    if rows is not None:
        text = _write_rows(job_name(path, rows.target), opened, rows)
        _prove_rows(parse_job(text, f"the draft for {table}"), rows.settled.rows)
    else:
        guess = guess_table(opened, series)
        text = _write(job_name(path, guess.target.column), opened, guess)
        _prove(parse_job(text, f"the draft for {table}"), guess.settled.rows)
    return text


def _prove(job: PredictionJob, rows: pl.DataFrame) -> None:
    """Raise what a run would raise before it fits anything."""
    source = job.spec.sources[0]
    frequency = parse_frequency(job.spec.frequency)
    now = max(rows[KNOWN_AT].to_list())
    bars = build_bars(source, rows, frequency=frequency, calendar=job.spec.calendar, now=now)
    make_folds(build_panel(job, {source.name: bars}).panel, job.spec.evaluation)


def _prove_rows(job: PredictionJob, rows: pl.DataFrame) -> None:
    make_row_folds(observe(rows, job.spec, max(rows[KNOWN_AT].to_list())).settled, job.spec)


def _write(name: str, opened: Opened, guess: TableGuess) -> str:
    target, frequency, series = guess.target, guess.frequency, guess.series
    repeated = guess.settled.duplicates
    of = "a time" if series is None else "a time of a series"
    models = "{name: ridge}, {name: xgboost}"
    lines = [
        *_head(name, opened),
        *line(2, f"frequency: {frequency.frequency}", frequency.why),
        "  target:",
        f"    source: {scalar(guess.source.name)}",
        *line(4, f"column: {scalar(target.column)}", target.why),
        *line(4, f"transform: {target.transform}", target.transform_why),
        *line(4, "horizon: 1", "bars ahead"),
        "  sources:",
        *source_lines(
            opened,
            guess.source,
            repeats=f"; {repeated:,} rows repeat {of}, and the last counts" if repeated else "",
            series_why=series.why if series else "",
            columns_why=guess.columns_why,
            dropped_why=guess.dropped_why,
            lag_check=_LAG,
        ),
        *_feature_lines(guess),
        *(
            line(2, f"models: [{models}, {{name: theta}}]", "baselines are always judged beside them")
            if series is None
            else line(2, f"models: [{models}]", "each learns from all series; baselines are always judged beside them")
        ),
    ]
    return "\n".join(lines) + "\n"


def _write_rows(name: str, opened: Opened, guess: ObservationsGuess) -> str:
    repeated, source = guess.settled.repeated, guess.source.name
    columns = sequence([f"{source}.{column}" for column in guess.features])
    classes = guess.task == "Classification"
    linear = "logistic_regression" if classes else "ridge"
    lines = [
        *_head(name, opened),
        *line(2, f"task: {guess.task}", guess.task_why),
        *line(2, f"frequency: {guess.frequency}", guess.frequency_why),
        "  target:",
        f"    source: {scalar(source)}",
        *line(4, f"column: {scalar(guess.target)}", guess.target_why),
        "  sources:",
        *source_lines(
            opened,
            guess.source,
            repeats=f"; {repeated:,} rows are equal to others, and all count" if repeated else "",
            columns_why=guess.columns_why,
            dropped_why=guess.dropped_why,
            lag_check=_ROW_LAG,
        ),
        *line(2, "features:", _FEATURES_CHECK),
        *(remark(4, one) for one in guess.left_out),
        f"    - columns: {mapping([('columns', columns)])}",
        *([f"    - calendar: {mapping([('parts', sequence(guess.parts))])}"] if guess.parts else []),
        *line(2, f"models: [{{name: {linear}}}, {{name: xgboost}}]", "a baseline is always judged beside them"),
        *(["  evaluation: {metric: LogLoss}"] if classes else []),
    ]
    return "\n".join(lines) + "\n"


def _head(name: str, opened: Opened) -> list[str]:
    file = scalar(opened.place)
    return [
        *line(0, f"# A draft from {file}. Comments say what each guess was made from; check them all."),
        "apiVersion: presage.dev/v1alpha1",
        "kind: PredictionJob",
        f"metadata: {mapping([('name', scalar(name))])}",
        "spec:",
    ]


def _feature_lines(guess: TableGuess) -> list[str]:
    source, target = guess.source.name, guess.target
    columns = ("columns", sequence([f"{source}.{target.column}"]))
    lines = line(2, "features:", "of the newest bar, and of the last 5 and 22")
    if target.transform == "Level":
        lines += line(4, f"- lag: {mapping([columns, ('steps', sequence(_WINDOWS[:1]))])}")
        lines += line(4, f"- rolling: {mapping([columns, ('windows', sequence(_WINDOWS[1:]))])}")
    else:
        lines += line(4, f"- {_CHANGES[target.transform]}: {mapping([columns, ('periods', sequence(_WINDOWS))])}")
    if guess.ranged:
        volatility = mapping([("sources", sequence([source])), ("windows", sequence(_WINDOWS))])
        lines += line(4, f"- rangeVolatility: {volatility}", "as there are high and low prices")
    return lines
