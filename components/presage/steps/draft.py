"""A first job for a table: every field that the table suggests, with what suggests it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from presage.bars import build_bars
from presage.errors import DataError
from presage.evaluation.folds import make_folds
from presage.evaluation.intervals import MINIMUM_RESIDUALS
from presage.evaluation.season import default_season
from presage.features.definitions import high_and_low
from presage.frame import KNOWN_AT, value_columns
from presage.sources import file
from presage.sources.columns import value_numbers
from presage.sources.contract import Table
from presage.sources.rows import SourceRows, to_rows
from presage.spec.base import Frequency, parse_frequency
from presage.spec.evaluation import Evaluation
from presage.spec.job import PredictionJob
from presage.spec.load import parse_job
from presage.spec.sources import Availability, FileSource, Source
from presage.steps.draft_text import line, mapping, scalar, sequence
from presage.steps.guess.frequency import FrequencyGuess, guess_frequency
from presage.steps.guess.layout import Layout, first_line_is_data, guess_layout
from presage.steps.guess.names import LONGEST_COLUMN, job_name, source_name, value_names
from presage.steps.guess.series import require_one_series
from presage.steps.guess.target import TargetGuess, guess_target
from presage.steps.guess.times import TimeGuess, guess_times
from presage.steps.guess.zone import ZoneGuess, guess_zone
from presage.steps.select import build_frame

_LAG = (
    "# CHECK: how long after the end of its period a row is published, which no table tells. 0s suits prices;",
    "# statistics take days or weeks. Too short a lag lets the future leak in: scores look good and mean nothing.",
)
_WINDOWS = (1, 5, 22)


@dataclass(frozen=True)
class _Draft:
    path: Path
    layout: Layout
    times: TimeGuess
    zone: ZoneGuess
    frequency: FrequencyGuess
    target: TargetGuess
    source: Source
    ranges: bool
    renamed: str
    repeated: str
    dropped: str


def draft_job(table: Path, *, relative_to: Path) -> str:
    """Return the text of a job for a table, each guess explained beside it in a comment.

    The job is one that runs: it is read back, and the table is read, made into bars and divided into folds by it.

    Args:
        table: A CSV, CSV.gz or Parquet file.
        relative_to: Folder that the job file will be in; a file below it is named relative to it.

    Returns:
        YAML, fewer than 40 lines.

    Raises:
        DataError: There is no such file, it cannot be read, or it is no table of one series over time: no column of
            times, none of numbers, several series, or too few rows.
        MissingExtraError: Reading the file needs a package that is not installed.
    """
    base = relative_to.resolve()
    path = table.parent.resolve() / table.name
    uri = str(path.relative_to(base) if path.is_relative_to(base) else path)
    source = Source(name=source_name(path), availability=Availability(lag="0s"), file=FileSource(uri=uri))
    layout = guess_layout(path, source)
    options = FileSource(uri=uri, delimiter=layout.delimiter, skip_rows=layout.skip_rows)
    source = source.model_copy(update={"file": options})
    fetched = _read(source, base, path.name)
    times = _times(fetched, source)
    require_one_series(fetched, times)
    zone = guess_zone(fetched.data[times.column], times.moments)
    frequency = guess_frequency(times.moments, zone.name, table.name)
    how = {"time": times.column, "time_format": times.form.format, "time_unit": times.form.unit, "time_zone": zone.name}
    if frequency.frequency.intraday:
        how["frequency"] = str(frequency.frequency)
    source = source.model_copy(update=how)

    names = value_names(fetched.data.columns, times.column)
    rows = _values(source, fetched, names, frequency.frequency)
    target = guess_target(rows, least=least_rows(frequency.frequency), place=table.name)
    prices = high_and_low(value_columns(rows))
    ranged = prices is not None and _are_ranges(rows, *prices)
    changed = [old for old, new in names.items() if old != new and new in rows.columns]
    if changed:
        used = {target.column, *(prices if prices and ranged else ())}
        source = source.model_copy(update={"columns": {new: old for old, new in names.items() if new in used}})
    source, settled, dropped = _settle(source, fetched, frequency.frequency)
    draft = _Draft(
        path=path,
        layout=layout,
        times=times,
        zone=zone,
        frequency=frequency,
        target=target,
        source=source,
        ranges=ranged,
        renamed=f"only what the job uses; the lake cannot hold {changed[0]!r} under its own name" if changed else "",
        repeated=f"; {settled.duplicates:,} rows repeat a time, and the last counts" if settled.duplicates else "",
        dropped=dropped,
    )
    text = _write(draft)
    _prove(parse_job(text, f"the draft for {table}"), settled.rows)
    return text


def least_rows(frequency: Frequency) -> int:
    """Return the fewest bars that a job of defaults can be judged on.

    Half of them train; the rest calibrate the intervals and leave one bar a fold. The seasonal naive baseline has to
    see a season first.
    """
    behind = MINIMUM_RESIDUALS + Evaluation().folds
    return max(2 * behind, default_season(frequency, weekdays=False) + behind + 1)


def _read(source: Source, base: Path, name: str) -> Table:
    """Return the table with its file's bare name: the path is in the job already."""
    fetched = file.read(source, base)
    return replace(fetched, parts=tuple(replace(part, name=name) for part in fetched.parts))


def _times(fetched: Table, source: Source) -> TimeGuess:
    place = fetched.parts[0].name
    if fetched.data.is_empty():
        raise DataError(f"{place}: there are no rows below the header.", "Give a table with a history of rows.")
    times = guess_times(fetched, source)
    if first_line_is_data(times, source):
        raise DataError(
            f"{place}: there is no header: the first line, with {times.column!r}, is data.",
            "Write a line with the names of the columns above it, such as Date,Close.",
        )
    return times


def _values(source: Source, fetched: Table, names: dict[str, str], frequency: Frequency) -> pl.DataFrame:
    """Return the rows that can be true, with all numeric columns, under names that a job can refer to."""
    data = fetched.data.select(source.time, *names).rename(names)
    table = Table(data, fetched.parts)
    try:
        value_numbers(source, table, source.time)
    except DataError as error:
        unnamed = fetched.data.width - 1 - len(names)
        note = f" ({unnamed} without a name, or with one of over {LONGEST_COLUMN} characters, aside)" if unnamed else ""
        raise DataError(
            f"{fetched.parts[0].name}: no column holds numbers beside the times in {source.time!r}{note}.",
            "Write numbers with a point, such as 1234.5, without separators of thousands and signs of currency.",
        ) from error
    return to_rows(source.model_copy(update={"invalid_rows": "Drop"}), table, frequency=frequency).rows


def _are_ranges(rows: pl.DataFrame, high: str, low: str) -> bool:
    """Return whether most of two columns called high and low can be prices."""
    return bool(
        rows.select(((pl.col(low) > 0) & (pl.col(high) >= pl.col(low))).fill_null(value=False).mean()).item() > 0.5
    )


def _settle(source: Source, fetched: Table, frequency: Frequency) -> tuple[Source, SourceRows, str]:
    """Return the source that reads a table, its rows, and why rows have to be dropped where they do."""
    try:
        return source, to_rows(source, fetched, frequency=frequency), ""
    except DataError as error:
        dropping = source.model_copy(update={"invalid_rows": "Drop"})
        rows = to_rows(dropping, fetched, frequency=frequency)
        count = "1 row" if rows.dropped == 1 else f"{rows.dropped:,} rows"
        first, _, _ = error.what.removeprefix(f"source {source.name!r}, ").partition(". ")
        return dropping, rows, f"{count} cannot be true, such as {first.removesuffix('.')}"


def _prove(job: PredictionJob, rows: pl.DataFrame) -> None:
    """Raise what a run would raise before it fits anything."""
    source = job.spec.sources[0]
    now: datetime = rows[KNOWN_AT].to_list()[-1]
    bars = build_bars(source, rows, frequency=parse_frequency(job.spec.frequency), calendar=job.spec.calendar, now=now)
    make_folds(build_frame(job, {source.name: bars}), job.spec.evaluation)


def _write(draft: _Draft) -> str:
    target, frequency = draft.target, draft.frequency
    lines = [
        *line(
            0, f"# A draft from {scalar(draft.path.name)}. Comments say what each guess was made from; check them all."
        ),
        "apiVersion: presage.dev/v1alpha1",
        "kind: PredictionJob",
        f"metadata: {mapping([('name', scalar(job_name(draft.path, target.column)))])}",
        "spec:",
        *line(2, f"frequency: {frequency.frequency}", frequency.why),
        "  target:",
        f"    source: {scalar(draft.source.name)}",
        *line(4, f"column: {scalar(target.column)}", target.why),
        *line(4, f"transform: {target.transform}", target.transform_why),
        *line(4, "horizon: 1", "bars ahead"),
        "  sources:",
        *_source_lines(draft),
        *_feature_lines(draft),
        *line(2, "models: [{name: ridge}, {name: xgboost}, {name: theta}]", "baselines are always judged beside them"),
    ]
    return "\n".join(lines) + "\n"


def _source_lines(draft: _Draft) -> list[str]:
    source, layout = draft.source, draft.layout
    place = [("uri", scalar(source.file.uri if source.file else ""))]
    why = ""
    if layout.skip_rows:
        place.append(("skipRows", str(layout.skip_rows)))
        why = f"above the header: {layout.banner[:60]!r}"
    if layout.delimiter != ",":
        place.append(("delimiter", scalar(layout.delimiter)))
    lines = [f"    - name: {scalar(source.name)}", *line(6, f"file: {mapping(place)}", why)]
    lines += line(6, f"time: {scalar(source.time)}", draft.times.why + draft.repeated)
    if source.time_format is not None:
        lines += line(6, f"timeFormat: {scalar(source.time_format)}", draft.times.form_why)
    if source.time_unit is not None:
        lines += line(6, f"timeUnit: {source.time_unit}", draft.times.form_why)
    lines += line(6, f"timeZone: {scalar(source.time_zone)}", draft.zone.why)
    if source.frequency is not None:
        lines += line(
            6, f"frequency: {source.frequency}", "of the rows; with a longer spec.frequency, bars are made of them"
        )
    if source.columns:
        columns = [(scalar(new), scalar(old)) for new, old in source.columns.items()]
        lines += line(6, f"columns: {mapping(columns)}", draft.renamed)
    if draft.dropped:
        lines += line(6, f"invalidRows: {source.invalid_rows}", draft.dropped)
    return [*lines, *(f"      {text}" for text in _LAG), "      availability: {lag: 0s}"]


def _feature_lines(draft: _Draft) -> list[str]:
    name, target = draft.source.name, draft.target
    columns = ("columns", sequence([f"{name}.{target.column}"]))
    periods = ("periods", sequence(_WINDOWS))
    lines = line(2, "features:", "of the newest bar, and of the last 5 and 22")
    if target.transform == "Level":
        lines += line(4, f"- lag: {mapping([columns, ('steps', sequence(_WINDOWS[:1]))])}")
        lines += line(4, f"- rolling: {mapping([columns, ('windows', sequence(_WINDOWS[1:]))])}")
    else:
        kind = {"LogChange": "logChange", "PercentChange": "percentChange"}.get(target.transform, "difference")
        lines += line(4, f"- {kind}: {mapping([columns, periods])}")
    if draft.ranges:
        volatility = mapping([("sources", sequence([name])), ("windows", sequence(_WINDOWS))])
        lines += line(4, f"- rangeVolatility: {volatility}", "as there are high and low prices")
    return lines
