"""The digest of a table tells what it says, and nothing of how it is stored."""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presage.errors import DataError
from presage.frame import INGESTED_AT, KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.lake.content import check_columns, digest, ordered

MOMENT = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = pl.DataFrame(
    {
        SERIES: ["b", "a", "a", None],
        TIME: pl.Series([MOMENT] * 4, dtype=TIMESTAMP),
        "price": [1.0, 2.0, None, 4.0],
        "count": [1, None, 3, 4],
        "filled": [True, False, None, True],
    }
)


def part(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def test_the_digest_is_that_of_the_bytes_that_its_documentation_names():
    rows = pl.DataFrame({"b": ["é", None], "a": [None, -0.0]}, schema={"b": pl.String, "a": pl.Float64})
    # In the order of a, then b, nulls first: (null, "é"), (0.0, null).
    content = b"".join(
        map(
            part,
            [
                b"presage-content-1",
                struct.pack("<Q", 2),
                b"a",
                b"float64",
                b"\x01",
                struct.pack("<2d", 0.0, 0.0),
                b"b",
                b"string",
                b"\x02",
                struct.pack("<2q", 2, 0) + "é".encode(),
            ],
        )
    )
    assert digest(rows) == "sha256:" + hashlib.sha256(content).hexdigest()


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(4)), st.permutations(ROWS.columns))
def test_the_order_of_rows_and_columns_does_not_count(rows, columns):
    shuffled = ROWS[rows].select(columns)
    assert digest(shuffled) == digest(ROWS)
    assert ordered(shuffled).select(ROWS.columns).equals(ordered(ROWS))


def test_nor_do_chunks_ingestion_and_the_sign_of_zero():
    halves = pl.concat([ROWS.head(2), ROWS.tail(2)], rechunk=False)
    assert halves.n_chunks() == 2
    assert digest(halves) == digest(ROWS)
    assert digest(ROWS.with_columns(pl.lit(MOMENT).alias(INGESTED_AT))) == digest(ROWS)
    assert digest(pl.DataFrame({"x": [0.0, 1.0]})) == digest(pl.DataFrame({"x": [-0.0, 1.0]}))
    odd = struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\xff")[0]  # a NaN with another sign and payload
    assert digest(pl.DataFrame({"x": [float("nan"), 1.0]})) == digest(pl.DataFrame({"x": [odd, 1.0]}))


@pytest.mark.parametrize(
    "other",
    [
        ROWS.head(3),
        pl.concat([ROWS, ROWS.head(1)]),
        ROWS.rename({"price": "cost"}),
        ROWS.with_columns(pl.col("price") * (1 + 2**-52)),
        ROWS.with_columns(pl.col("price").fill_null(0.0)),
        ROWS.with_columns(pl.col("filled").fill_null(value=False)),
        ROWS.with_columns(pl.col(SERIES).fill_null("")),
        ROWS.with_columns(pl.col("count").cast(pl.Float64)),
        ROWS.with_columns(pl.col(TIME).dt.offset_by("1us")),
        ROWS.drop("count"),
        ROWS.with_columns(pl.col("price").reverse()),
    ],
    ids=["row", "repeat", "name", "last bit", "null", "null Boolean", "null text", "type", "time", "column", "pairing"],
)
def test_everything_else_counts(other):
    assert digest(other) != digest(ROWS)


def test_rows_stand_in_the_order_of_the_row_contract():
    rows = ordered(ROWS.with_columns(pl.lit(MOMENT).cast(TIMESTAMP).alias(KNOWN_AT)))
    assert rows[SERIES].to_list() == [None, "a", "a", "b"]
    assert rows["count"].to_list() == [4, None, 3, 1]


@pytest.mark.parametrize("kind", [pl.Int32, pl.Float32, pl.Date, pl.Datetime("ns", "UTC"), pl.Datetime("us"), pl.Null])
def test_a_type_that_a_table_cannot_keep_is_refused(kind):
    rows = pl.DataFrame({"odd": pl.Series([None], dtype=kind)})
    with pytest.raises(DataError, match=r"Table bars/x: column 'odd' has the type .* Cast it to one of Datetime"):
        check_columns("bars/x", rows)
