"""Which column of a table tells the time, and how its cells are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import polars as pl

from presage.draft.names import LONGEST_COLUMN
from presage.errors import DataError
from presage.sources.columns import read_numbers
from presage.sources.contract import Table
from presage.sources.timestamps import TimeUnit, read_moments
from presage.spec.sources import Source

_NAMES = frozenset({"time", "date", "datetime", "timestamp", "ts", "ds"})
_COARSE_NAMES = frozenset({"day", "week", "month", "quarter", "period", "year"})
_PARTS = ("date", "time", "stamp", "epoch", "unix")
_ENOUGH = 0.95
"""Share of a column's cells that must tell a time: a few may be notes or mistakes."""
_SAMPLE = 500
_GLANCE = 5

_ORDERS = ("%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%m/%d/%y", "%d/%m/%y")
_WORDS = ("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%b %Y", "%b-%Y", "%a %b %d %Y", "%a, %d %b %Y")
_DAYS = (
    *(form.replace("/", separator) for separator in "/-." for form in _ORDERS),
    *(form for word in _WORDS for form in (word, word.replace("%b", "%B"))),
    "%Y%m%d",
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S")
_ISO_LIKE = frozenset(f"%Y-%m-%d{clock}" for clock in _CLOCKS[:4])
_FORMATS = tuple(day + clock for day, clock in product(_DAYS, _CLOCKS) if day + clock not in _ISO_LIKE)
_DIGITS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_UNITS: dict[TimeUnit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_FIRST_SECOND, _LAST_SECOND = 1e8, 4.2e9  # 1973 to 2103: the ranges of the units do not meet.


@dataclass(frozen=True)
class TimeForm:
    """How times are written: by neither of the fields in ISO 8601, or as the column's own type has it."""

    format: str | None = None
    unit: TimeUnit | None = None


@dataclass(frozen=True)
class TimeGuess:
    """The column of times.

    Attributes:
        column: Its name.
        form: How its cells are written.
        moments: Datetime("us", "UTC"); null where a cell tells no time.
        share: Share of the cells with content that tell a time, above 0 and at most 1.
        why: Why this column.
        form_why: Why this form; empty where it needs no explanation.
    """

    column: str
    form: TimeForm
    moments: pl.Series
    share: float
    why: str
    form_why: str


def guess_times(table: Table, source: Source) -> TimeGuess:
    """Return the column of times.

    Raises:
        DataError: No column reads as times, or the one whose name says so has times that cannot be read together.
    """
    place = table.parts[0].name
    found = find_times(table, source)
    if found is not None and not _usable(found.column):
        raise DataError(
            f"{place}: the column of times is called {found.column[:40]!r}.",
            f"Give it a name of 1 to {LONGEST_COLUMN} characters in the header, such as Date.",
        )
    if found is not None:
        return found
    named = [cells for cells in table.data if _rank(cells.name) < 2]
    for cells in named:
        if not cells.dtype.is_numeric():
            # Where the cells are ISO 8601 that cannot be read together, this says which of them are odd.
            read_moments(cells, source, table.where)
    examples = ", ".join(f"{cells.name!r} ({_example(cells)})" for cells in (named or list(table.data))[:3])
    raise DataError(
        f"{place}: no column reads as times; looked at {examples}.",
        "Write the times into a column called Date or Time in ISO 8601, such as 2020-01-31 or 2020-01-31T14:30:00Z.",
    )


def find_times(table: Table, source: Source) -> TimeGuess | None:
    """Return the column of times, or None where no column reads as times.

    A column called like a time comes first, then the one that tells more different times, then the first. Numbers are
    times only in a column called like one.
    """
    best: TimeGuess | None = None
    best_key = (False, 0, 0)
    for cells in table.data:
        rank = _rank(cells.name)
        guess = _read_column(cells, rank, source)
        if guess is not None:
            key = (_usable(cells.name), -rank, guess.moments.n_unique())
            if best is None or key > best_key:
                best, best_key = guess, key
    return best


def reads_as_times(cells: pl.Series, source: Source) -> bool:
    """Return whether a column reads as times."""
    return _read_column(cells, _rank(cells.name), source) is not None


def evenness(moments: pl.Series) -> float:
    """Return the share of the steps between different times that are the median one, give or take a tenth."""
    steps = moments.drop_nulls().unique().sort().diff().drop_nulls().cast(pl.Int64)
    middle = steps.median()
    if not isinstance(middle, float):
        return 1.0
    return int(((steps - middle).abs() <= middle / 10).sum()) / steps.len()


def reads_as_time(text: str, form: TimeForm, source: Source) -> bool:
    """Return whether a text tells a time of this form."""
    read = _read(pl.Series([text]), form, source)
    return read is not None and read.null_count() == 0


def _rank(name: str) -> int:
    """Return 0 for a column called time or the like, 1 for one whose name speaks of it, 2 for others."""
    letters = re.sub(r"[^a-z]", "", name.lower())
    if letters in _NAMES:
        return 0
    return 1 if letters in _COARSE_NAMES or any(part in letters for part in _PARTS) else 2


def _usable(name: str) -> bool:
    return 0 < len(name) <= LONGEST_COLUMN


def _read_column(cells: pl.Series, rank: int, source: Source) -> TimeGuess | None:
    content = cells.drop_nulls()
    if content.is_empty():
        return None
    sample = content.gather_every(max(1, content.len() // _SAMPLE))
    forms = [form for form in _forms(sample, rank) if _share(sample.head(_GLANCE), form, source) > 0]
    promising = [form for form in forms if _share(sample, form, source) >= _ENOUGH]
    read = [(form, moments) for form in promising if (moments := _read(cells, form, source)) is not None]
    if not read:
        return None
    most = max(_count(moments) for _, moments in read)
    # Where two orders of day and month read equally well, the truth is the one whose steps are even.
    form, moments = min(
        ((form, moments) for form, moments in read if _count(moments) == most), key=lambda one: _unevenness(one[1])
    )
    share = most / content.len()
    if share < _ENOUGH:
        return None
    called = "by its name" if rank < 2 else "the first that tells times"
    all_read = f"all {most:,} cells" if share == 1 else f"{most:,} of {content.len():,} cells"
    return TimeGuess(
        cells.name, form, moments, share, f"{called}; {all_read} read as times", _explain(cells, form, moments, source)
    )


def _forms(sample: pl.Series, rank: int) -> Sequence[TimeForm]:
    dtype = sample.dtype
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return (TimeForm(),)
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Categorical, pl.Enum)):
        return ()
    numbers = read_numbers(sample).values
    if numbers.null_count() < numbers.len() / 2:
        return tuple(_number_forms(numbers)) if rank < 2 else ()
    if not sample.head(_GLANCE).cast(pl.String).str.contains(r"\d").any():
        return ()
    return (TimeForm(), *(TimeForm(format=form) for form in _FORMATS))


def _number_forms(numbers: pl.Series) -> Iterator[TimeForm]:
    typical = numbers.abs().median()
    if not isinstance(typical, float) or not typical < 2**63:
        return
    if (form := _DIGITS.get(len(str(int(typical))))) is not None:
        yield TimeForm(format=form)
    for unit, per_second in _UNITS.items():
        if _FIRST_SECOND <= typical / per_second < _LAST_SECOND:
            yield TimeForm(unit=unit)


def _read(cells: pl.Series, form: TimeForm, source: Source) -> pl.Series | None:
    told = source.model_copy(update={"time_format": form.format, "time_unit": form.unit})
    try:
        return read_moments(cells, told, lambda row: f"row {row + 1}").moments
    except DataError:
        return None


def _share(cells: pl.Series, form: TimeForm, source: Source) -> float:
    moments = _read(cells, form, source)
    return 0.0 if moments is None else _count(moments) / cells.len()


def _count(moments: pl.Series) -> int:
    return moments.len() - moments.null_count()


def _unevenness(moments: pl.Series) -> float:
    """Return the longest step over the median one; 1 where all steps are the same."""
    steps = moments.drop_nulls().unique().sort().diff().drop_nulls().cast(pl.Int64)
    middle, longest = steps.median(), steps.max()
    return longest / middle if isinstance(middle, float) and isinstance(longest, int) else 1.0


def _explain(cells: pl.Series, form: TimeForm, moments: pl.Series, source: Source) -> str:
    if form.unit is not None:
        return f"in {form.unit} the first is {moments.drop_nulls()[0]:%Y-%m-%d %H:%M} UTC"
    if form.format is None:
        return ""
    other = _swapped(form.format)
    swapped = _read(cells, TimeForm(format=other), source) if other else None
    if swapped is None:
        return _example(cells)
    impossible = _count(moments) - _count(swapped)
    order = "month" if form.format.startswith("%m") else "day"
    if impossible:
        return f"{order} first: {impossible:,} cells cannot be read the other way"
    return f"CHECK: day and month read in either order; with the {order} first the steps are more even"


def _swapped(form: str) -> str:
    """Return a form with day and month swapped; empty where it does not start with them as numbers."""
    return re.sub(r"^(%[md])(.)(%[md])", r"\3\2\1", form) if re.match(r"%[md].%[md]", form) else ""


def _example(cells: pl.Series) -> str:
    content = cells.drop_nulls()
    return f"such as {str(content[0])[:40]!r}" if content.len() else "empty"
