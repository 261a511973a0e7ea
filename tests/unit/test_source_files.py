"""Files that can and cannot be read, one or many."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from source_case import asked

from presage.errors import DataError
from presage.frame import TIME, value_columns
from presage.sources.file import tables
from presage.sources.formats import join
from presage.sources.rows import SourceRows, read_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source

NOBODY = 65534
TEXT = "Date,Open,Close\n2020-03-01,1,2\n2020-03-02,3,4\n2020-03-03,5,6\n"
FRAME = pl.DataFrame({"Date": ["2020-03-01", "2020-03-02", "2020-03-03"], "Open": [1, 3, 5], "Close": [2, 4, 6]})


def packed(content: bytes) -> bytes:
    # Without the time, which would give a parameter another name in each test process.
    return gzip.compress(content, mtime=0)


def declare(uri: str, **options: object) -> Source:
    file = {"uri": uri} | {
        name: options.pop(name) for name in ("skipRows", "delimiter", "format", "nullValues") if name in options
    }
    return Source.model_validate({"name": "btc", "time": "Date", "availability": {"lag": "0s"}, "file": file} | options)


def rows_of(folder: Path, uri: str, **options: object) -> SourceRows:
    return read_rows(declare(uri, **options), asked(folder, Frequency(1, "d")))


def refusal(folder: Path, uri: str, **options: object) -> str:
    with pytest.raises(DataError) as raised:
        rows_of(folder, uri, **options)
    assert "source 'btc'" in raised.value.what
    assert raised.value.remedy
    return str(raised.value)


def parquet(frame: pl.DataFrame = FRAME) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


# What can be read


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", TEXT.encode(), {}),
        ("a.txt", TEXT.encode(), {}),
        ("a.csv", TEXT.replace("\n", "\r\n").encode(), {}),
        ("a.csv", TEXT.removesuffix("\n").encode(), {}),
        ("a.csv", b"\xef\xbb\xbf" + TEXT.encode(), {}),
        ("a.csv", TEXT.replace(",", " , ").encode(), {}),
        ("a.csv", TEXT.replace(",", ";").encode(), {"delimiter": ";"}),
        ("a.csv", b'Created by "a site, with quotes\n' + TEXT.encode(), {"skipRows": 1}),
        ("a.csv", TEXT.replace("\n", ",Note\n", 1).encode() + b'2020-03-04,,,"two\nlines"', {}),
        ("a.csv", b"\n" + TEXT.encode() + b"\n\n", {}),
        ("A.CSV.GZ", packed(TEXT.encode()), {}),
        ("a.csv.gz", packed(TEXT[:20].encode()) + packed(TEXT[20:].encode()), {}),
        ("a.parquet", parquet(), {}),
        ("a.parquet.gz", packed(parquet()), {}),
        ("a.bin", parquet(), {"format": "Parquet"}),
        ("a.parquet", TEXT.encode(), {"format": "CSV"}),
        ("a[1] 50%.csv", TEXT.encode(), {}),
    ],
)
def test_a_file_is_read_by_its_name_or_its_declared_format(tmp_path, name, content, options):
    (tmp_path / name).write_bytes(content)
    read_back = rows_of(tmp_path, name, **options)
    assert read_back.rows["Open"].to_list() == [1.0, 3.0, 5.0]
    assert read_back.rows["Close"].to_list() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("form", ["{path}", "file://{quoted}", "file://localhost{quoted}", "FILE://{quoted}"])
def test_a_location_is_a_path_or_a_file_uri(tmp_path, form):
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / "a.csv").write_text(TEXT)
    path = str(folder / "a.csv")
    assert rows_of(Path("/"), form.format(path=path, quoted=quote(path))).rows.height == 3


def test_the_cells_that_mean_no_value_are_declared(tmp_path):
    (tmp_path / "a.csv").write_text("Date,Close\n2020-03-01,-\n2020-03-02,.\n2020-03-03,3\n")
    assert rows_of(tmp_path, "a.csv", nullValues=["-", "."]).rows["Close"].to_list() == [3.0]
    assert "line 2, column 'Close': '-' is no number" in refusal(tmp_path, "a.csv", columns={"Close": "Close"})


def test_many_files_are_read_in_the_order_of_their_names(tmp_path):
    (tmp_path / "2020" / "b").mkdir(parents=True)
    (tmp_path / "2020" / "b" / "2.csv").write_text("Close,Date,Open\n20,2020-03-03,50\n7,2020-03-04,7\n")
    (tmp_path / "2020" / "1.csv").write_text(TEXT)
    (tmp_path / "2020" / ".hidden.csv").write_text("no such thing")
    (tmp_path / "2020" / "folder.csv").mkdir()
    read_back = rows_of(tmp_path, "2020/**/*.csv")
    assert read_back.rows["Close"].to_list() == [2.0, 4.0, 20.0, 7.0]
    assert read_back.duplicates == 1
    read = join(list(tables(declare("2020/**/*.csv"), tmp_path)), declare("2020/**/*.csv"))
    assert [part.name for part in read.parts] == ["2020/1.csv", "2020/b/2.csv"]


def test_an_error_names_the_one_of_many_files(tmp_path):
    (tmp_path / "1.csv").write_text(TEXT)
    (tmp_path / "2.csv").write_text("Date,Open,Close\n2020-03-04,1,2\n2020-03-05,3,x\n")
    assert "source 'btc', 2.csv, line 3, column 'Close': 'x' is no number" in refusal(tmp_path, "*.csv")


def test_a_file_with_a_header_alone_may_stand_among_others(tmp_path):
    (tmp_path / "1.csv").write_text("Date,Open,Close\n")
    (tmp_path / "2.csv").write_text(TEXT)
    assert rows_of(tmp_path, "*.csv").rows.height == 3


def test_a_column_that_no_one_needs_may_be_missing_in_a_file(tmp_path):
    (tmp_path / "1.csv").write_text(TEXT)
    (tmp_path / "2.csv").write_text("Date,Close\n2020-03-04,8\n")
    assert rows_of(tmp_path, "*.csv", columns={"Close": "Close"}).rows["Close"].to_list() == [2.0, 4.0, 6.0, 8.0]
    message = refusal(tmp_path, "*.csv", columns={"Open": "Open"})
    assert "2.csv: no column 'Open'" in message
    message = refusal(tmp_path, "*.csv")
    assert "2.csv and 1.csv differ in column 'Open'" in message
    assert "`columns`" in message


def test_times_of_a_parquet_file_keep_their_type(tmp_path):
    times = pl.datetime_range(pl.datetime(2020, 3, 1), pl.datetime(2020, 3, 3), "1d", eager=True)
    for kind, column in {
        "ns": times.cast(pl.Datetime("ns")),
        "date": times.cast(pl.Date),
        "zoned": times.dt.replace_time_zone("UTC"),
    }.items():
        FRAME.with_columns(column.alias("Date")).write_parquet(tmp_path / f"{kind}.parquet")
    read_back = [rows_of(tmp_path, f"{kind}.parquet").rows for kind in ("ns", "date", "zoned")]
    assert_frame_equal(read_back[0], read_back[1])
    assert_frame_equal(read_back[0], read_back[2])
    assert read_back[0][TIME].dt.date().to_list() == times.dt.date().to_list()


def test_numbers_of_a_parquet_file_of_any_type_are_float64(tmp_path):
    typed = FRAME.select(
        "Date",
        pl.col("Open").cast(pl.Decimal(10, 2)),
        pl.col("Close").cast(pl.UInt8),
        pl.col("Open").cast(pl.String).cast(pl.Categorical).alias("Label"),
        pl.lit([[1]]).alias("List"),
    )
    typed.write_parquet(tmp_path / "a.parquet")
    rows = rows_of(tmp_path, "a.parquet").rows
    assert value_columns(rows) == ["Open", "Close", "Label"]
    assert set(rows.select(value_columns(rows)).dtypes) == {pl.Float64}


# What cannot be read


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("a.csv", b"", {}, ["a.csv: the file is empty"]),
        ("a.csv", b" \n\n", {}, ["a.csv: the file is empty"]),
        ("a.csv.gz", b"", {}, ["a.csv.gz: the file is empty"]),
        ("a.csv.gz", packed(b""), {}, ["a.csv.gz: the file is empty"]),
        ("a.csv", b"Date,Open,Close\n", {}, ["a.csv: there are no rows"]),
        ("a.csv", b"banner\n", {"skipRows": 1}, ["no header", "`skipRows`"]),
        ("a.csv", b"banner\n", {"skipRows": 9}, ["no header", "9 lines"]),
        (
            "a.csv",
            TEXT.encode() + b"2020-03-04,7",
            {},
            ["the last line has 2 of 3 cells", "cut off", "Get the file again"],
        ),
        (
            "a.csv",
            b"Date,Close\n2020-03-01,1\n2020-03-02,1,2\n",
            {},
            ["line 3: 3 cells, but the header has 2", "`delimiter`"],
        ),
        ("a.csv", b"x\nDate,Close\n2020-03-01,1\n2020-03-02,1,2\n", {"skipRows": 1}, ["line 4: 3 cells"]),
        ("a.csv", b'Date,Close\n2020-03-01,1\n2020-03-02,"1\n', {}, ["line 3", "a quote that opens a cell"]),
        ("a.csv", TEXT.encode() + b'2020-03-04,7,"8', {}, ["cut off in a quoted cell of the last line"]),
        ("a.csv", TEXT.encode(), {"delimiter": "€"}, ["'€' cannot stand between cells", "`delimiter`"]),
        ("a.csv", b"Date,Close,Close\n2020-03-01,1,2\n", {}, ["names column 'Close' twice"]),
        ("a.csv", TEXT.encode("utf-16"), {}, ["line 1: the file is no UTF-8 text"]),
        (
            "a.csv",
            TEXT.encode() + b"2020-03-04,\xff,7\n",
            {},
            ["line 5: the file is no UTF-8 text", "Save it as UTF-8"],
        ),
        ("a.csv", packed(TEXT.encode()), {}, ["no UTF-8 text", ".gz"]),
        ("a.csv", parquet(), {}, ["no UTF-8 text", "format: Parquet"]),
        ("a.csv", TEXT.replace(",", ";").encode(), {}, ["no column 'Date'", "`delimiter`"]),
        ("a.csv", TEXT.encode() + b"2020-03-04,\0,7\n", {}, ["line 5: the file is no UTF-8 text"]),
        ("a.csv.gz", TEXT.encode(), {}, ["no gzip", "drop the .gz ending"]),
        ("a.csv.gz", packed(TEXT.encode())[:-12], {}, ["gzip file is cut off before its end"]),
        ("a.csv.gz", packed(TEXT.encode())[:-4] + b"xxxx", {}, ["no gzip, or is damaged"]),
        ("a.parquet", parquet()[:-9], {}, ["no Parquet, or is cut off"]),
        ("a.parquet", parquet()[: len(parquet()) // 2], {}, ["no Parquet, or is cut off"]),
        ("a.parquet", TEXT.encode(), {}, ["no Parquet", "`format: CSV`"]),
        ("a.parquet", parquet(FRAME.clear()), {}, ["a.parquet: there are no rows"]),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(tmp_path, name, content, options, words):
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path, name, **options)
    for word in [name, *words]:
        assert word in message


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("none.csv", ["none.csv: there is no such file", "correct the path"]),
        ("none/*.csv", ["none/*.csv: no file matches", "correct the pattern"]),
        ("folder", ["folder: this is a folder", "folder/*.csv"]),
        ("folder/", ["this is a folder"]),
        ("/dev/null", ["/dev/null: this is no regular file"]),
        ("https://example.org/a.csv", ["plain path or a file:///path URI", "s3 or http"]),
        ("s3://bucket/a.csv", ["plain path or a file:///path URI"]),
        ("file://server/share/a.csv", ["plain path or a file:///path URI"]),
        ("a\0.csv", ["no such file"]),
        ("a" * 300 + ".csv", ["File name too long"]),
    ],
)
def test_a_location_where_no_file_can_be_read_is_refused(tmp_path, uri, words):
    (tmp_path / "folder").mkdir()
    message = refusal(tmp_path, uri)
    for word in words:
        assert word in message


@contextmanager
def without_rights() -> Iterator[None]:
    """Let go of root's rights, which no permission stops."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


@pytest.mark.parametrize("locked", ["folder/a.csv", "folder"])
def test_a_file_that_may_not_be_read_is_refused(tmp_path, locked):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.csv").write_text(TEXT)
    (tmp_path / locked).chmod(0)
    try:
        with without_rights():
            message = refusal(tmp_path, "folder/a.csv")
    finally:
        (tmp_path / locked).chmod(0o700)
    assert "not allowed to read" in message
    assert "chmod" in message


def test_no_damage_to_a_parquet_file_ends_in_anything_but_rows_or_a_data_error(tmp_path):
    whole = parquet(pl.concat([FRAME] * 50))
    refused = 0
    for place in range(0, len(whole), 7):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :]):
            (tmp_path / "a.parquet").write_bytes(damaged)
            try:
                rows_of(tmp_path, "a.parquet", invalidRows="Drop")
            except DataError:
                refused += 1
    assert refused > len(whole) // 7


@pytest.mark.parametrize("column", ["*", "^a.*$"])
def test_a_column_whose_name_is_a_pattern_of_names_is_refused(tmp_path, column):
    (tmp_path / "prices.csv").write_text(f"Date,{column}\n2024-01-01,1\n")
    with pytest.raises(DataError, match="cannot be a column's name"):
        rows_of(tmp_path, "prices.csv")
