"""All that a table suggests for a job whose rows each stand for themselves, such as trips or orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from presage.draft.names import value_names
from presage.draft.opened import Opened
from presage.draft.settle import dropping, settle
from presage.draft.target import by_name
from presage.errors import DataError, LeakageError
from presage.frame import KNOWN_AT, TIME
from presage.sources.columns import value_numbers
from presage.sources.contract import Table
from presage.sources.periods import period_starts
from presage.spec.base import Frequency
from presage.spec.evaluation import Evaluation
from presage.spec.features import CalendarPart
from presage.spec.sources import Source
from presage.tabular.design import Inputs
from presage.tabular.folds import LEAST_CALIBRATION
from presage.tabular.leakage import require_no_copies
from presage.tabular.observations import Observations
from presage.tabular.rows import Kind, TableRows, kinds_of, to_table

_WORDS = ("target", "label", "y", "class", "outcome", "price", "fare", "amount", "amt", "cost", "total", "value")
_PARTS = ("target", "label", "price", "fare", "amount", "cost")
_PERIODS = (Frequency(1, "d"), Frequency(1, "h"), Frequency(1, "m"))
_ENOUGH_PERIODS = 60
_MOST_COLUMNS = 64
_DISTINCT = 0.5
"""Share of different cells from which a text is prose or an identity and no category."""
_SHOWN = 6


@dataclass(frozen=True)
class ObservationsGuess:
    """What a table of observations most likely is.

    Attributes:
        source: The source that reads it.
        settled: The rows that the source gives.
        task: Classification where the target holds 0 and 1 alone, else Regression.
        task_why: Why its rows are no series.
        frequency: The period whose rows are judged together.
        frequency_why: Why that.
        target: The column to predict.
        target_why: Why this column.
        features: The columns that may tell it, one at least.
        left_out: By reason, a sentence on the columns that are no features.
        parts: The parts of a row's time that may tell it.
        columns_why: Why the source names its columns; empty where it keeps all of them.
        dropped_why: Why rows have to be dropped; empty where none has to.
    """

    source: Source
    settled: TableRows
    task: Literal["Regression", "Classification"]
    task_why: str
    frequency: Frequency
    frequency_why: str
    target: str
    target_why: str
    features: tuple[str, ...]
    left_out: tuple[str, ...]
    parts: tuple[CalendarPart, ...]
    columns_why: str
    dropped_why: str


def guess_observations(opened: Opened) -> ObservationsGuess | None:
    """Return what a table of observations most likely is; None where it has nothing to predict or to learn from.

    Raises:
        DataError: There are too few rows to judge on.
    """
    names = value_names(opened.table.data.columns, {opened.times.column})
    data = opened.table.data.select(opened.times.column, *names).rename(names)
    renamed = Table(data, opened.table.parts)
    try:
        numbers = value_numbers(opened.source, renamed)
    except DataError:
        return None
    usable = [name for name, column in numbers.items() if column.values.drop_nulls().n_unique() > 1]
    if not usable:
        return None
    named = by_name(usable, _WORDS, _PARTS)
    last = [name for name in usable if not _are_labels(numbers[name].values.drop_nulls())] or usable
    target = named or last[-1]
    rows = to_table(dropping(opened.source), renamed, target=target).rows
    least = 2 * (LEAST_CALIBRATION + Evaluation().folds)
    count = rows.height - rows[target].null_count()
    if count < least:
        raise DataError(
            f"{opened.place}: column {target!r} has {count:,} values, and a job needs {least:,} to be judged on.",
            "Give a longer history.",
        )
    features, left_out = _features(rows, target, opened.source)
    if not features:
        return None
    old_names = {new: old for old, new in names.items()}
    changed = next((old_names[name] for name in kinds_of(rows) if old_names[name] != name), None)
    source = opened.source
    if changed is not None:
        source = source.model_copy(update={"columns": {name: old_names[name] for name in (*features, target)}})
    source, settled, dropped_why = settle(source, lambda read: to_table(read, opened.table, target=target))
    times, periods = settled.rows[TIME].n_unique(), _periods(settled.rows[TIME], opened.zone.name)
    listed = ", ".join(usable[:_SHOWN]) + (", ..." if len(usable) > _SHOWN else "")
    return ObservationsGuess(
        source=source,
        settled=settled,
        task="Classification" if settled.rows[target].drop_nulls().is_in([0.0, 1.0]).all() else "Regression",
        task_why=f"{settled.rows.height:,} rows at {times:,} times are no even series: each is predicted from itself",
        frequency=periods[0],
        frequency_why=f"rows of one period are judged together; there are {periods[1]:,}",
        target=target,
        target_why=f"CHECK: {'by its name' if named else 'the last'}, of {len(usable)} numeric columns: {listed}",
        features=features,
        left_out=left_out,
        parts=_parts(settled.rows[TIME], opened.zone.name),
        columns_why=f"only what is used: the lake cannot hold {changed!r} under its own name" if changed else "",
        dropped_why=dropped_why,
    )


def _features(rows: pl.DataFrame, target: str, source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that may tell the target, and which others may not."""
    observations = Observations(
        table=rows,
        time=rows[TIME].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"),
        known_at=rows[KNOWN_AT].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"),
        outcome=rows[target].fill_null(np.nan).to_numpy(),
    )
    kept: list[str] = []
    left_out: dict[str, list[str]] = {}
    for name, kind in kinds_of(rows).items():
        if name == target:
            continue
        fault = _no_feature(observations, name, kind, source)
        if fault:
            left_out.setdefault(fault, []).append(name)
        else:
            kept.append(name)
    if len(kept) > _MOST_COLUMNS:
        left_out["as there are so many"] = kept[_MOST_COLUMNS:]
    told = tuple(f"left out, {fault}: {', '.join(names)}" for fault, names in left_out.items())
    return tuple(kept[:_MOST_COLUMNS]), told


def _no_feature(observations: Observations, name: str, kind: Kind, source: Source) -> str:
    """Return why a column is no feature; empty where it may be one."""
    cells = observations.table[name].drop_nulls()
    different = cells.n_unique()
    if different < 2:
        return "always the same or empty"
    if kind == "text" and different > _DISTINCT * len(cells):
        return "as hardly any two rows share one"
    if kind == "number" and _are_labels(cells):
        return "as it may count the rows"
    try:
        require_no_copies(observations, Inputs(source.name, source.time_zone, {name: kind}, ()))
    except LeakageError:
        return "as it tells the target by itself"
    return ""


def _are_labels(numbers: pl.Series) -> bool:
    """Return whether numbers may count or name the rows: they are whole, and no two are the same."""
    return numbers.n_unique() == len(numbers) and bool((numbers == numbers.round()).all())


def _periods(moments: pl.Series, zone: str) -> tuple[Frequency, int]:
    """Return the longest of a few periods of which there are enough to judge on, else the shortest, and how many."""
    counted = [(period, period_starts(moments, period, zone).n_unique()) for period in _PERIODS]
    return next((one for one in counted if one[1] >= _ENOUGH_PERIODS), counted[-1])


def _parts(moments: pl.Series, zone: str) -> tuple[CalendarPart, ...]:
    local = moments.dt.convert_time_zone(zone)
    different: dict[CalendarPart, int] = {
        "hour": local.dt.hour().n_unique(),
        "day_of_week": local.dt.weekday().n_unique(),
        "month": local.dt.month().n_unique(),
    }
    return tuple(part for part, count in different.items() if count > 1)
