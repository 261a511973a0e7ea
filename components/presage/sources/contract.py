"""The adapter contract: an adapter fetches a table; what its rows mean is judged for all adapters alike, in `rows`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from presage.sources.secrets import environment_secret
from presage.spec.base import Frequency, parse_frequency
from presage.spec.sources import SecretRef, Source

NOTHING_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Request:
    """What is asked of a source, and what an adapter may use to get it.

    Attributes:
        base: Folder that relative paths start from, usually the job file's.
        frequency: The job's frequency, which is the rows' own where the source does not say another.
        end: Moment of the run, UTC: rows whose period starts then or later are not asked for.
        start: Rows whose period starts earlier are not asked for; None for a read that goes on at the bookmark, or has
            all from the beginning where there is none. An adapter that cannot ask for a span gives all it has.
        bookmark: What the last table of an earlier read of this source left; empty where there was none.
        secret: Gives the keys and values of a secret; raises JobError where it is not there.
        sleep: Waits for so many seconds.
    """

    base: Path
    frequency: Frequency
    end: datetime
    start: datetime | None = None
    bookmark: str = ""
    secret: Callable[[SecretRef], Mapping[str, str]] = environment_secret
    sleep: Callable[[float], None] = time.sleep

    def period(self, source: Source) -> Frequency:
        """Return the length of a row's period."""
        return self.frequency if source.frequency is None else parse_frequency(source.frequency)


@dataclass(frozen=True)
class Part:
    """Rows of a table that come from one place, such as a file.

    Attributes:
        name: The place as the user knows it.
        rows: How many rows of the table come from it.
        first_line: Line of its first row, from 1, where it is lines of text; None where it is not.
    """

    name: str
    rows: int
    first_line: int | None = None


@dataclass(frozen=True)
class Table:
    """What an adapter fetched.

    Attributes:
        data: Rows in the order of the source, under the source's own column names, of any dtype; text cells that mean
            "no value" are null.
        parts: Where the rows come from, in their order; their `rows` sum to the height of `data`.
        time: The column that holds the time where the job leaves `time` at its default; None where only the job knows.
        series: The column that tells series apart where the job leaves `series` out; None for one series.
        bookmark: Where a later read goes on once these rows are kept, in the adapter's own words, such as the last
            value of a growing column; empty where every read is of all.
    """

    data: pl.DataFrame
    parts: tuple[Part, ...]
    time: str | None = None
    series: str | None = None
    bookmark: str = ""

    def where(self, row: int) -> str:
        """Return the place of a row (from 0) of `data`, such as `prices.csv, line 7` or `prices.parquet, row 6`."""
        start = 0
        for part in self.parts:
            if row < start + part.rows:
                return _place(part, self.data[start:row], row - start)
            start += part.rows
        raise IndexError(row)


class Adapter(Protocol):
    """How the rows of one kind of source are fetched; a module with a function `read` is one."""

    def read(self, source: Source, request: Request) -> Iterator[Table]:
        """Fetch the rows of a source of this adapter's kind, a table at a time.

        Each table fits into memory together with what it was made of. Tables of a source that is asked for spans come
        in the order of time, each with its bookmark, so that a read that is broken off goes on behind the last table
        that was kept. A source that has nothing new gives no table.

        Raises:
            DataError: What the source names does not exist or cannot be read as declared.
            JobError: A secret is not there.
            MissingExtraError: The adapter needs a package that is not installed.
            SourceUnavailableError: The source does not answer.
        """
        ...


def _place(part: Part, above: pl.DataFrame, row: int) -> str:
    if part.first_line is None:
        return f"{part.name}, row {row + 1}"
    # A quoted cell may hold line breaks: its row takes several lines.
    breaks = sum(cells.str.count_matches("\n", literal=True).sum() for cells in above if cells.dtype == pl.String)
    return f"{part.name}, line {part.first_line + row + breaks}"
