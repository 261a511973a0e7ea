"""Where a read of a column that only grows stands.

A later read starts *at* the last value, not behind it, because rows of the same value may come later; what it reads
again is dropped where rows are merged. A bookmark therefore also says which rows of its value were read: a later read
that finds those alone has found nothing new.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeAlias

from presage.errors import DataError
from presage.sources.quotes import quoted
from presage.spec.sources import Source

Value: TypeAlias = int | float | Decimal | datetime | date | str
"""What a column that grows may hold."""

Row: TypeAlias = Sequence[object]

_READERS: Mapping[str, Callable[[str], Value]] = {
    "integer": int,
    "real": float,
    "decimal": Decimal,
    "time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "text": str,
}
_MARKS = 2**128


@dataclass(frozen=True)
class Bookmark:
    """Where a read stands.

    Attributes:
        value: The last value of the column.
        rows: How many rows of that value were read.
        mark: Tells them from other rows, in whatever order they come.
    """

    value: Value
    rows: int = 0
    mark: int = 0

    def text(self) -> str:
        """Return the bookmark as it is kept."""
        kind = _kind(self.value)
        value = self.value.isoformat() if isinstance(self.value, date) else str(self.value)
        return json.dumps({"kind": kind, "value": value, "rows": self.rows, "mark": f"{self.mark:032x}"})

    def read(self, rows: Sequence[Row], place: int) -> Bookmark:
        """Return where a read stands after more rows, one at least, sorted by the column at `place`."""
        last = rows[-1][place]
        first = len(rows)
        while first and rows[first - 1][place] == last:
            first -= 1
        count, mark = (self.rows, self.mark) if first == 0 and last == self.value else (0, 0)
        for row in rows[first:]:
            mark = (mark + int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest()[:16])) % _MARKS
        return Bookmark(last, count + len(rows) - first, mark)  # type: ignore[arg-type]  # the caller has checked it


def parse_bookmark(text: str, source: Source) -> Bookmark | None:
    """Return a bookmark that was kept, None for an empty text; raises DataError for another text."""
    if not text:
        return None
    try:
        kept = json.loads(text)
        return Bookmark(_READERS[kept["kind"]](kept["value"]), int(kept["rows"]), int(kept["mark"], 16))
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise DataError(
            f"source {source.name!r}: the bookmark of its last read, {quoted(text)}, is none of this kind of source.",
            "Read the source anew into another work directory.",
        ) from error


def require_growing(rows: Sequence[Row], place: int, *, source: Source, column: str, where: str, before: int) -> None:
    """Raise DataError for the first row whose value tells no place in a growing column.

    Args:
        rows: The rows.
        place: The column's place among the cells of a row.
        source: The source.
        column: The column's name.
        where: What is read, as the user knows it.
        before: How many rows were read before these.
    """
    for number, row in enumerate(rows, start=before + 1):
        value = row[place]
        known = isinstance(value, int | float | Decimal | date | str) and not isinstance(value, bool)
        if not known or value != value:  # noqa: PLR0124  # NaN, which is larger than all that comes
            problem = "there is no value" if value is None else f"{quoted(value)} is no number, time or text"
            raise DataError(
                f"source {source.name!r}, {where}, row {number}, column {column!r}: {problem}, so that a later run "
                "could not tell what is new.",
                "Name another column in `incrementalColumn`, or leave the field out to read all rows each time.",
            )


def _kind(value: Value) -> str:
    kinds: dict[type, str] = {bool: "integer", int: "integer", float: "real", Decimal: "decimal", str: "text"}
    if isinstance(value, datetime):
        return "time"
    return "date" if isinstance(value, date) else kinds[type(value)]
