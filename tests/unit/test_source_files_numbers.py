"""Columns of a CSV that are read as numbers at once: rows and errors are those that its text gives."""

from __future__ import annotations

import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from presage.errors import DataError
from presage.sources.contract import Part, Table
from presage.sources.formats import join, parse
from presage.sources.rows import SourceRows, to_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source

DAY = Frequency(1, "d")
FIRST = 1_577_836_800
CELLS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["", "NA", ".", " ", " 1", "1 ", "\t2", "x", "+3", "1e5", "-.5", "7.", "1e400", "1,5", '"4"']),
)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(repr)


def declare(**fields: object) -> Source:
    defaults = {"name": "btc", "time": "t", "timeUnit": "s", "availability": {"lag": "0s"}, "file": {"uri": "x.csv"}}
    return Source.model_validate(defaults | fields)


def typed(content: bytes, source: Source) -> Table:
    assert source.file is not None
    return parse(content, "x.csv", source.file, source)


def as_text(content: bytes, source: Source) -> Table:
    assert source.file is not None
    text = pl.read_csv(
        io.BytesIO(content), separator=";", null_values=list(source.file.null_values), infer_schema=False
    )
    return Table(text, (Part("x.csv", text.height, 2),))


def outcome(source: Source, table: Table) -> SourceRows | str:
    try:
        return to_rows(source, table, frequency=DAY)
    except DataError as error:
        return str(error)


def assert_same(given: SourceRows | str, expected: SourceRows | str) -> None:
    if isinstance(given, str) or isinstance(expected, str):
        assert given == expected
        return
    assert_frame_equal(given.rows, expected.rows, check_exact=True)
    assert (given.duplicates, given.dropped) == (expected.duplicates, expected.dropped)


@settings(deadline=None)
@given(
    cells=st.lists(st.tuples(CELLS, NUMBERS, st.sampled_from(["a", "b", ""])), min_size=1, max_size=8),
    head=st.integers(0, 2),
    odd_time=st.sampled_from(["", "1e3", " 1577923200", "1577836800.5", "9999999999999999", "x"]),
    declared=st.booleans(),
    series=st.booleans(),
    drop=st.booleans(),
)
def test_rows_and_errors_are_those_of_the_text(cells, head, odd_time, declared, series, drop):
    plain = [("1.5", "2", "a")] * (head * 60)
    lines = [
        f"{FIRST + 86_400 * day};{first};{second};{name}" for day, (first, second, name) in enumerate(plain + cells)
    ]
    lines.append(f"{odd_time};1;2;a")
    content = "\n".join(["t;High;Low;Name", *lines, ""]).encode()
    source = declare(
        columns={"high": "High", "low": "Low"} if declared else {},
        series="Name" if series else None,
        invalidRows="Drop" if drop else "Reject",
        file={"uri": "x.csv", "delimiter": ";"},
    )
    assert_same(outcome(source, typed(content, source)), outcome(source, as_text(content, source)))


def test_columns_that_are_needed_as_numbers_are_read_as_numbers():
    content = b"t,Close,Note,Name\n1577836800,1,2,a\n1577923200,2.5,3,a\n"
    source = declare(columns={"close": "Close"}, series="Name")
    assert typed(content, source).data.dtypes == [pl.Int64, pl.Float64, pl.String, pl.Categorical]
    assert typed(content, declare()).data.dtypes == [pl.Int64, pl.Float64, pl.Float64, pl.String]


def test_a_source_whose_time_is_not_told_yet_has_text_only():
    unsaid = Source.model_validate({"name": "btc", "availability": {"lag": "0s"}, "file": {"uri": "x.csv"}})
    assert set(typed(b"time,Date,Close\n1,20200301,2\n", unsaid).data.dtypes) == {pl.String}


def test_a_quoted_name_with_a_line_break_still_counts_as_two_lines():
    content = b't,Close,Name\n1577836800,1,"a\nb"\n1577923200,x,c\n'
    source = declare(columns={"close": "Close"}, series="Name")
    assert "x.csv, line 4, column 'Close': 'x' is no number" in outcome(source, typed(content, source))


def test_a_file_of_numbers_beside_one_with_an_odd_cell_keeps_every_digit():
    values = [0.1 + 0.2, 1 / 3, 123456.789012345, 5e-324]
    times = [FIRST + 86_400 * day for day in range(5)]
    first = "t,Close\n" + "".join(f"{time},{value!r}\n" for time, value in zip(times, values, strict=False))
    source = declare(columns={"close": "Close"}, invalidRows="Drop")
    tables = [typed(first.encode(), source), typed(f"t,Close\n{times[4]},x\n".encode(), source)]
    read = to_rows(source, join(tables, source), frequency=DAY)
    assert read.rows["close"].to_list() == values
    assert read.dropped == 1


@pytest.mark.parametrize("cell", ["inf", "1e31", "1e39", "-Infinity"])
def test_a_number_that_cannot_be_true_is_quoted_as_it_is_written(cell):
    content = f"t,Close\n1577836800,1\n1577923200,{cell}\n".encode()
    source = declare(columns={"close": "Close"})
    told = outcome(source, typed(content, source))
    assert_same(told, outcome(source, as_text(content.replace(b",", b";"), source)))
    assert cell == "1e31" or f"line 3, column 'Close': '{cell}' is" in told


def test_a_byte_that_is_no_text_is_found_behind_millions_that_are():
    good = "Date,Close\n" + "é" * (1 << 23) + "x,1\n"
    with pytest.raises(DataError, match="line 3: the file is no UTF-8 text"):
        typed(good.encode() + b"\xc3\n", declare())
    with pytest.raises(DataError, match="line 2: the file is no UTF-8 text"):
        typed(good.encode().removesuffix(b"x,1\n") + b"\xc3", declare())


def test_the_names_of_series_in_parquet_are_categories_where_they_are_text():
    frame = pl.DataFrame({"t": [FIRST, FIRST], "Close": [1.0, 2.0], "Name": ["b", "a"], "Number": [2, 1]})
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    for series, names in (("Name", ["a", "b"]), ("Number", ["1", "2"])):
        source = declare(columns={"close": "Close"}, series=series)
        assert source.file is not None
        table = parse(buffer.getvalue(), "x.parquet", source.file, source)
        assert table.data["Name"].dtype == (pl.Categorical if series == "Name" else pl.String)
        assert to_rows(source, table, frequency=DAY).rows["series"].to_list() == names
