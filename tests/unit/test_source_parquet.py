"""Parquet files: every kind of column, row groups of any size, and what happens to a file while it is read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from pyarrow import parquet
from source_case import asked

from presage.errors import DataError, SourceUnavailableError
from presage.sources.formats import read_file
from presage.sources.parquet import read_parquet
from presage.sources.rows import read_rows
from presage.spec.base import Frequency
from presage.spec.sources import Source, TableOptions

HOUR = 3_600_000_000
TIMES = pa.array([place * HOUR for place in range(40)], pa.timestamp("us", "UTC"))
TABLE = pa.table(
    {
        "time": TIMES,
        "k": pa.array(["b", None, "a", "b"] * 10),
        "x": pa.array([1.5, None, float("nan"), float("inf")] * 10),
        "small": pa.array([1, None, -3, 4] * 10, pa.int8()),
        "large": pa.array([2**63, 1, None, 4] * 10, pa.uint64()),
        "single": pa.array([0.1, 0.2, None, 0.4] * 10, pa.float32()),
        "day": pa.array([1, None, 3, 4] * 10, pa.date32()),
        "truth": pa.array([True, None, False, True] * 10),
        "list": pa.array([[1], None, [2, 3], []] * 10),
    }
)


def written(table: pa.Table, rows: int = 7) -> bytes:
    content = io.BytesIO()
    parquet.write_table(table, content, row_group_size=rows)
    return content.getvalue()


def opening(content: bytes) -> Callable[[], pa.NativeFile]:
    return lambda: pa.BufferReader(content)


def source(**fields: object) -> Source:
    declared = {"name": "m", "time": "time", "availability": {"lag": "0s"}, "file": {"uri": "a.parquet"}}
    return Source.model_validate(declared | fields)


def rows_of(folder: Path, table: pa.Table, **fields: object) -> pl.DataFrame:
    (folder / "a.parquet").write_bytes(written(table))
    return read_rows(source(**fields), asked(folder, Frequency(1, "h"))).rows


@pytest.mark.parametrize("rows", [1, 3, 7, 40, 1000])
def test_every_kind_of_column_is_what_polars_reads_whatever_the_row_groups(rows):
    content = written(TABLE, rows)
    found = read_parquet(opening(content), "a.parquet", repeated="k", needed=None)
    assert found["k"].dtype == pl.Categorical
    assert_frame_equal(found.with_columns(pl.col("k").cast(pl.String)), pl.read_parquet(content))


def test_a_file_without_a_row_has_its_columns():
    found = read_parquet(opening(written(TABLE.slice(0, 0))), "a.parquet", repeated=None, needed=None)
    assert found.schema == pl.read_parquet(written(TABLE.slice(0, 0))).schema


def test_a_name_that_stands_for_two_columns_is_refused(tmp_path):
    twice = pa.Table.from_arrays([TIMES, TABLE["small"], TABLE["small"]], names=["time", "x", "x"])
    with pytest.raises(DataError, match="the file has column 'x' 2 times"):
        rows_of(tmp_path, twice)


def test_a_column_that_no_table_holds_is_refused_where_it_is_needed_and_left_out_where_it_is_not(tmp_path, capfd):
    wide = pa.array([1] * 40, pa.decimal128(10, 2)).cast(pa.decimal256(50, 2))
    table = pa.table({"time": TIMES, "x": pa.array([1.0] * 40), "wide": wide})
    assert rows_of(tmp_path, table, columns={"x": "x"}).height == 40
    with pytest.raises(DataError, match="column 'wide' holds decimal256"):
        rows_of(tmp_path, table)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("far", [2**62, -(2**62)])
def test_a_time_without_a_year_is_no_time(tmp_path, unit, far):
    per_hour = HOUR // {"s": 10**6, "ms": 10**3, "us": 1}[unit] if unit != "ns" else HOUR * 1000
    numbers = [place * per_hour for place in range(39)] + [far if unit in ("us", "ns") else far // 1000]
    table = pa.table({"time": pa.array(numbers, pa.timestamp(unit, "UTC")), "x": pa.array([1.0] * 40)})
    if unit == "ns":
        # All of 64 bits of nanoseconds are years that there are.
        assert rows_of(tmp_path, table, frequency="1h").height == 40
        return
    with pytest.raises(DataError, match=r"row 40, column 'time': .* is no time between the years 1000 and 3000"):
        rows_of(tmp_path, table)
    assert rows_of(tmp_path, table, invalidRows="Drop").height == 39


def test_a_date_without_a_year_is_no_time(tmp_path):
    table = pa.table({"time": pa.array([*range(39), 2**30], pa.date32()), "x": pa.array([1.0] * 40)})
    with pytest.raises(DataError, match="1073741824 days since 1970-01-01 is no time"):
        rows_of(tmp_path, table, frequency="1d")


@pytest.mark.parametrize("deed", ["replaced", "written to"])
def test_a_file_that_is_changed_while_it_is_read_is_not_read(tmp_path, monkeypatch, deed):
    path = tmp_path / "a.parquet"
    path.write_bytes(written(TABLE))
    opened = pa.OSFile

    def changing(name: str) -> pa.NativeFile:
        found = opened(name)
        if deed == "replaced":
            (tmp_path / "b").write_bytes(written(TABLE, 40))
            (tmp_path / "b").replace(path)
        else:
            with path.open("ab") as file:
                file.write(b"more")
            os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(pa, "OSFile", changing)
    with pytest.raises(SourceUnavailableError, match="was changed while it was read"):
        read_file(path, "a.parquet", TableOptions(), source())
