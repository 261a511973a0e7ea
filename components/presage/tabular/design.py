"""The design matrix: what models see of a row. Categories are learnt inside a training window and kept in the bundle.

trips.trip_miles                  a column of numbers, as it is; NaN where missing
trips.company=Blue Ribbon         1 where a text column holds a frequent category, else 0; NaN where missing
trips.company~rare                1 where it holds any other: rare ones, and those that training never saw
calendar.hour_sin                 a part of the row's own time, as `presage.features.dates` has it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from presage.errors import DataError, JobError, LakeError, LeakageError
from presage.features.dates import WAVES, calendar_part
from presage.features.definitions import require_column
from presage.frame import TIME, FloatArray
from presage.spec.features import CalendarPart, Columns
from presage.spec.job import PredictionJobSpec
from presage.spec.sources import Source
from presage.tabular.rows import Kind

DESIGN = "design.json"
LEAST_SHARE = 0.01
"""Share of the training rows that a category needs for a column of its own."""
LEAST_ROWS = 10
MOST_CATEGORIES = 50
LONGEST_CATEGORY = 100
"""Characters beyond which a text is no category but prose."""


@dataclass(frozen=True)
class Inputs:
    """What a job's features are made of.

    Attributes:
        source: Name of the source.
        zone: Time zone in which the calendar is read.
        columns: By name, what each column holds.
        parts: Parts of the row's own time.
    """

    source: str
    zone: str
    columns: Mapping[str, Kind]
    parts: tuple[CalendarPart, ...]


class Design(BaseModel):
    """What makes a design matrix of rows: frozen, and all that is learnt of it is the categories."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal["v1"] = "v1"
    task: Literal["Regression", "Classification"]
    source: str
    zone: str
    numbers: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    """By text column, its frequent categories, the most frequent first."""
    parts: tuple[CalendarPart, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the matrix' columns."""
        return (
            *(f"{self.source}.{column}" for column in self.numbers),
            *(
                f"{self.source}.{column}{rest}"
                for column, kept in self.categories.items()
                for rest in (*(f"={category}" for category in kept), "~rare")
            ),
            *(f"calendar.{part}_{wave}" for part in self.parts for wave in WAVES),
        )

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column holds that the matrix is made of."""
        numbers: dict[str, Kind] = dict.fromkeys(self.numbers, "number")
        return numbers | dict.fromkeys(self.categories, "text")

    def matrix(self, table: pl.DataFrame) -> FloatArray:
        """Return (n, p) float64 features of rows, NaN where missing.

        Raises:
            DataError: The rows lack a column.
        """
        missing = [column for column in self.kinds if column not in table.columns]
        if missing:
            raise DataError(
                f"source {self.source!r} has no column {missing[0]!r}, which the model learnt from.",
                "Give rows with the columns of the run that fitted it, or run the job again.",
            )
        columns = [table[column].cast(pl.Float64).fill_null(np.nan).to_numpy() for column in self.numbers]
        for column, kept in self.categories.items():
            columns += _indicators(table[column], kept)
        moments = table[TIME].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
        columns += [
            calendar_part(moments, zone=self.zone, part=part, wave=wave) for part in self.parts for wave in WAVES
        ]
        return np.column_stack(columns) if columns else np.empty((table.height, 0))

    def to_bytes(self) -> bytes:
        """Return the design as JSON that `read_design` reads back without loss."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def read_design(files: Mapping[str, bytes]) -> Design:
    """Return the design among a bundle's files; raises LakeError where there is none that can be read."""
    try:
        return Design.model_validate_json(files[DESIGN])
    except (KeyError, ValidationError) as error:
        raise LakeError(
            f"the bundle has no {DESIGN} that can be read.", "It is of no row task or was changed; run the job again."
        ) from error


def inputs_of(spec: PredictionJobSpec, kinds: Mapping[str, Kind]) -> Inputs:
    """Return what a job's features are made of; by default all columns but those that tell the target.

    Args:
        spec: The job.
        kinds: What each column of the target's source holds.

    Raises:
        DataError: The source lacks a column.
        JobError: A feature is of a kind that looks at other rows, or of another source.
        LeakageError: A feature is what the target is made of, or when the row was published.
    """
    source = spec.source(spec.target.source)
    telling = _telling(source, spec.target.column)
    columns: dict[str, Kind] = {}
    parts: dict[CalendarPart, None] = {}
    for number, feature in enumerate(spec.features):
        if feature.columns is not None:
            columns |= _listed(feature.columns, source, kinds, telling, f"spec.features[{number}]")
        elif feature.calendar is not None:
            parts |= dict.fromkeys(feature.calendar.parts)
        else:
            raise JobError(
                f"spec.features[{number}]: {feature.kind} looks at earlier bars, and task {spec.task} predicts a row "
                f"from itself.",
                "Use columns and calendar, or set spec.task to Forecast.",
            )
    if not spec.features:
        columns = {name: kind for name, kind in kinds.items() if name not in telling}
    if not columns and not parts:
        raise DataError(f"source {source.name!r} has no column beside the target.", "Name features in spec.features.")
    return Inputs(source=source.name, zone=source.time_zone, columns=columns, parts=tuple(parts))


def fit_design(inputs: Inputs, training: pl.DataFrame, task: Literal["Regression", "Classification"]) -> Design:
    """Return the design that a training window teaches: which categories are frequent enough for their own column."""
    return Design(
        task=task,
        source=inputs.source,
        zone=inputs.zone,
        numbers=tuple(name for name, kind in inputs.columns.items() if kind == "number"),
        categories={name: _frequent(training[name]) for name, kind in inputs.columns.items() if kind == "text"},
        parts=inputs.parts,
    )


def _telling(source: Source, target: str) -> dict[str, str]:
    """Return the columns that tell the target, by new name, and why."""
    column = source.columns.get(target, target)
    told = {name: "the target is made of it" for name, own in source.columns.items() if own == column}
    told[target] = "the target is made of it"
    published = source.availability.column
    if published is not None:
        late = "it tells when the row was published, which is later than the row"
        told |= {name: late for name, own in source.columns.items() if own == published} | {published: late}
    return told


def _listed(
    columns: Columns, source: Source, kinds: Mapping[str, Kind], telling: Mapping[str, str], place: str
) -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for reference in columns.columns:
        name, _, column = reference.partition(".")
        if name != source.name:
            raise JobError(
                f"{place}.columns: {reference} is of another source than the target's, {source.name!r}.",
                "A row is predicted from its own columns: join them in the source.",
            )
        if column in telling:
            raise LeakageError(f"feature {reference}: {telling[column]}.", f"Take it out of {place}.columns.")
        require_column(name, column, {name: list(kinds)})
        found[column] = kinds[column]
    return found


def _frequent(cells: pl.Series) -> tuple[str, ...]:
    short = cells.drop_nulls()
    short = short.filter(short.str.len_chars() <= LONGEST_CATEGORY)
    counts = short.value_counts(name="rows").sort(["rows", cells.name], descending=[True, False])
    least = max(LEAST_ROWS, LEAST_SHARE * len(cells))
    return tuple(counts.filter(pl.col("rows") >= least)[cells.name].head(MOST_CATEGORIES).to_list())


def _indicators(cells: pl.Series, kept: Sequence[str]) -> list[FloatArray]:
    indicators = [(cells == category).cast(pl.Float64).fill_null(np.nan).to_numpy() for category in kept]
    rare = (~cells.is_in(list(kept))).cast(pl.Float64).set(cells.is_null(), np.nan).to_numpy()
    return [*indicators, rare]
