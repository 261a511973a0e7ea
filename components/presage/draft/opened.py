"""A table that has been read: how its text is laid out, and when its rows are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from presage.draft.layout import Layout, first_line_is_data, guess_layout
from presage.draft.names import source_name
from presage.draft.times import TimeGuess, guess_times
from presage.draft.zone import ZoneGuess, guess_zone
from presage.errors import DataError
from presage.sources import file
from presage.sources.contract import Table
from presage.sources.formats import join
from presage.spec.sources import Availability, FileSource, Source


@dataclass(frozen=True)
class Opened:
    """A table with what holds of it whatever its rows are.

    Attributes:
        source: The source that reads it, without its frequency, series and columns.
        table: Its rows, under its file's bare name.
        layout: How its text is laid out.
        times: Its column of times.
        zone: The zone of its days.
    """

    source: Source
    table: Table
    layout: Layout
    times: TimeGuess
    zone: ZoneGuess

    @property
    def place(self) -> str:
        """What to call the table in errors."""
        return self.table.parts[0].name


def open_table(path: Path, *, base: Path) -> Opened:
    """Read a table and find its times.

    Args:
        path: The file, absolute.
        base: Folder that relative paths start from; a file below it is named relative to it.

    Raises:
        DataError: The file cannot be read, has no header or no rows, or no column of times.
    """
    uri = str(path.relative_to(base) if path.is_relative_to(base) else path)
    source = Source(name=source_name(path), availability=Availability(lag="0s"), file=FileSource(uri=uri))
    layout = guess_layout(path, source)
    options = FileSource(uri=uri, delimiter=layout.delimiter, skip_rows=layout.skip_rows)
    source = source.model_copy(update={"file": options})
    table = _fetch(source, base, path.name)
    times = _times(table, source)
    zone = guess_zone(table.data[times.column], times.moments)
    told = {
        "time": times.column,
        "time_format": times.form.format,
        "time_unit": times.form.unit,
        "time_zone": zone.name,
    }
    return Opened(source.model_copy(update=told), table, layout, times, zone)


def _fetch(source: Source, base: Path, name: str) -> Table:
    """Return the table with its file's bare name: the path is in the job already."""
    fetched = join(list(file.tables(source, base)), source)
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
