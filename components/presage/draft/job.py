"""A first job for a table: every field that the table suggests, with what suggests it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from presage.bars import build_bars
from presage.draft.names import job_name
from presage.draft.table import TableGuess, guess_table
from presage.draft.yaml_text import line, mapping, scalar, sequence
from presage.evaluation.folds import make_folds
from presage.frame import KNOWN_AT
from presage.spec.base import parse_frequency
from presage.spec.job import PredictionJob
from presage.spec.load import parse_job
from presage.steps.select import build_panel

_LAG = (
    "# CHECK: how long after the end of its period a row is published, which no table tells. 0s suits prices;",
    "# statistics take days or weeks. Too short a lag lets the future leak in: scores look good and mean nothing.",
)
_WINDOWS = (1, 5, 22)
_CHANGES = {"Difference": "difference", "PercentChange": "percentChange", "LogChange": "logChange"}


def draft_job(table: Path, *, relative_to: Path) -> str:
    """Return the text of a job for a table, each guess explained beside it in a comment.

    The job is one that runs: it is read back, and by it the table is read, made into bars and divided into folds.

    Args:
        table: A CSV, CSV.gz or Parquet file.
        relative_to: Folder that the job file will be in; a file below it is named relative to it.

    Returns:
        YAML, fewer than 40 lines.

    Raises:
        DataError: There is no such file, it cannot be read, or it is no table of one series over time: no column of
            times, none of numbers, several series, or too few rows.
    """
    path = table.parent.resolve() / table.name
    guess = guess_table(path, base=relative_to.resolve())
    text = _write(path.name, job_name(path, guess.target.column), guess)
    _prove(parse_job(text, f"the draft for {table}"), guess.settled.rows)
    return text


def _prove(job: PredictionJob, rows: pl.DataFrame) -> None:
    """Raise what a run would raise before it fits anything."""
    source = job.spec.sources[0]
    frequency = parse_frequency(job.spec.frequency)
    now: datetime = rows[KNOWN_AT].to_list()[-1]
    bars = build_bars(source, rows, frequency=frequency, calendar=job.spec.calendar, now=now)
    make_folds(build_panel(job, {source.name: bars}).panel, job.spec.evaluation)


def _write(file: str, name: str, guess: TableGuess) -> str:
    target, frequency = guess.target, guess.frequency
    lines = [
        *line(0, f"# A draft from {scalar(file)}. Comments say what each guess was made from; check them all."),
        "apiVersion: presage.dev/v1alpha1",
        "kind: PredictionJob",
        f"metadata: {mapping([('name', scalar(name))])}",
        "spec:",
        *line(2, f"frequency: {frequency.frequency}", frequency.why),
        "  target:",
        f"    source: {scalar(guess.source.name)}",
        *line(4, f"column: {scalar(target.column)}", target.why),
        *line(4, f"transform: {target.transform}", target.transform_why),
        *line(4, "horizon: 1", "bars ahead"),
        "  sources:",
        *_source_lines(guess),
        *_feature_lines(guess),
        *line(2, "models: [{name: ridge}, {name: xgboost}, {name: theta}]", "baselines are always judged beside them"),
    ]
    return "\n".join(lines) + "\n"


def _source_lines(guess: TableGuess) -> list[str]:
    source, layout, times = guess.source, guess.layout, guess.times
    place = [("uri", scalar(source.file.uri if source.file else ""))]
    if layout.skip_rows:
        place.append(("skipRows", str(layout.skip_rows)))
    if layout.delimiter != ",":
        place.append(("delimiter", scalar(layout.delimiter)))
    above = f"above the header: {layout.banner[:60]!r}" if layout.skip_rows else ""
    repeated = guess.settled.duplicates
    repeats = f"; {repeated:,} rows repeat a time, and the last counts" if repeated else ""

    lines = [f"    - name: {scalar(source.name)}", *line(6, f"file: {mapping(place)}", above)]
    lines += line(6, f"time: {scalar(source.time)}", times.why + repeats)
    if source.time_format is not None:
        lines += line(6, f"timeFormat: {scalar(source.time_format)}", times.form_why)
    if source.time_unit is not None:
        lines += line(6, f"timeUnit: {source.time_unit}", times.form_why)
    lines += line(6, f"timeZone: {scalar(source.time_zone)}", guess.zone.why)
    if source.frequency is not None:
        why = "of the rows; with a longer spec.frequency, bars are made of them"
        lines += line(6, f"frequency: {source.frequency}", why)
    if source.columns:
        columns = [(scalar(new), scalar(old)) for new, old in source.columns.items()]
        lines += line(6, f"columns: {mapping(columns)}", guess.columns_why)
    if guess.dropped_why:
        lines += line(6, f"invalidRows: {source.invalid_rows}", guess.dropped_why)
    return [*lines, *(f"      {text}" for text in _LAG), "      availability: {lag: 0s}"]


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
