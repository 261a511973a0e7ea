"""How the text of a table is laid out: the lines above its header, and the character between its cells."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

from presage.draft.times import TimeGuess, find_times, reads_as_time
from presage.errors import DataError
from presage.sources.contract import Table
from presage.sources.formats import parse
from presage.spec.sources import Source, TableOptions

_DELIMITERS = (",", ";", "\t", "|")
_MOST_SKIPPED = 20
_HEAD = 65536
_HEAD_LINES = 200


@dataclass(frozen=True)
class Layout:
    """How a table's text is laid out.

    Attributes:
        delimiter: The character between cells.
        skip_rows: Lines above the header.
        banner: The first of these lines; empty where there is none.
    """

    delimiter: str = ","
    skip_rows: int = 0
    banner: str = ""


def guess_layout(path: Path, source: Source) -> Layout:
    """Return the layout under which the most of a file's first lines have a time.

    Each delimiter is tried with each number of lines above the header. A line that tells a time itself is no header. Of
    equally good layouts the one with the most columns is taken, then the one with the fewest lines above.

    Args:
        path: The file.
        source: For errors.

    Returns:
        The default layout for Parquet, and where none fits: reading the whole file then says what is wrong with it.
    """
    if path.name.lower().endswith((".parquet", ".parquet.gz")):
        return Layout()
    head = _head(path)
    lines = head.decode(errors="replace").splitlines()
    best, best_score = Layout(), (0.0, 0)
    for delimiter in _DELIMITERS:
        for skip in range(min(_MOST_SKIPPED + 1, len(lines))):
            table = _parse(head, TableOptions(format="CSV", delimiter=delimiter, skip_rows=skip), source)
            times = find_times(table, source) if table is not None else None
            if table is None or times is None:
                continue
            if first_line_is_data(times, source):
                break
            if (times.share, table.data.width) > best_score:
                best, best_score = Layout(delimiter, skip, lines[0] if skip else ""), (times.share, table.data.width)
    return best


def first_line_is_data(times: TimeGuess, source: Source) -> bool:
    """Return whether what stands in the header above the times is itself a time."""
    return reads_as_time(times.column, times.form, source)


def _parse(head: bytes, options: TableOptions, source: Source) -> Table | None:
    """Return a table of several columns, or None where the lines are none of this layout."""
    try:
        table = parse(head, "head", options, source)
    except DataError:
        return None
    return table if table.data.width > 1 and table.data.height > 0 else None


def _head(path: Path) -> bytes:
    """Return the first whole lines of a file; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            packed = path.name.lower().endswith(".gz")
            head = (gzip.GzipFile(fileobj=file) if packed else file).read(_HEAD)
    except (OSError, EOFError, zlib.error, ValueError):
        return b""
    lines = io.BytesIO(head).readlines()
    # The last line may be cut; without one whole line there is nothing to go by.
    return b"".join(lines[: -1 if len(head) == _HEAD else None][:_HEAD_LINES])
