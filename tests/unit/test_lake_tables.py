"""The lake's tables: versions, re-runs, evolution, damage, and writers that meet."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import arch.data.sp500
import polars as pl
import pytest
from deltalake import DeltaTable

from presage.errors import DataError, LakeConflictError, LakeError, NotSupportedError
from presage.frame import INGESTED_AT, KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.lake.stored import ALL, StoredTable
from presage.lake.tables import Lake, TableVersion
from presage.lake.vintages import latest

NOW = datetime(2024, 6, 1, tzinfo=UTC)
TABLE = "raw/default.quickstart/sp500-0a1b"


@pytest.fixture(scope="module")
def sp500() -> pl.DataFrame:
    plain = arch.data.sp500.load()
    times = pl.Series([moment.to_pydatetime().replace(tzinfo=UTC) for moment in plain.index], dtype=TIMESTAMP)
    values = {name: plain[name].astype(float).to_list() for name in plain.columns}
    return pl.DataFrame({SERIES: "sp500", TIME: times, KNOWN_AT: times + timedelta(days=1), **values}).cast(
        {SERIES: pl.String}
    )


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def numbers(*values: float, start: int = 0) -> pl.DataFrame:
    times = pl.Series([NOW + timedelta(minutes=start + place) for place in range(len(values))], dtype=TIMESTAMP)
    return pl.DataFrame(
        {
            SERIES: pl.Series(["x"] * len(values), dtype=pl.String),
            TIME: times,
            KNOWN_AT: times,
            "value": pl.Series(values, dtype=pl.Float64),
        }
    )


def commits(lake: Lake, table: str) -> int:
    return len(DeltaTable(lake.stored(table).uri).history())


def test_real_rows_come_back_as_they_went_in(lake, sp500):
    version = lake.merge(TABLE, sp500.sample(fraction=1.0, shuffle=True, seed=1), ingested_at=NOW)
    assert (version.table, version.version, version.rows) == (TABLE, 0, sp500.height)
    found = lake.read(version)
    assert found.drop(INGESTED_AT).equals(sp500)
    assert found[INGESTED_AT].unique().to_list() == [NOW]
    assert lake.tables() == (TABLE,)


def test_a_merge_that_says_nothing_new_makes_no_version(lake, sp500):
    first = lake.merge(TABLE, sp500, ingested_at=NOW)
    again = lake.merge(TABLE, sp500.reverse(), ingested_at=NOW + timedelta(days=1))
    part = lake.merge(TABLE, sp500.tail(10), ingested_at=NOW + timedelta(days=2))
    nothing = lake.merge(TABLE, sp500.clear(), ingested_at=NOW + timedelta(days=2))
    assert first == again == part == nothing
    assert commits(lake, TABLE) == 1


def test_versions_stay_what_they_were(lake, sp500):
    half = lake.merge(TABLE, sp500.head(2000), ingested_at=NOW)
    whole = lake.merge(TABLE, sp500, ingested_at=NOW)
    revised = sp500.with_columns(pl.when(pl.int_range(pl.len()) == 7).then(1.0).otherwise("Close").alias("Close"))
    third = lake.merge(TABLE, revised, ingested_at=NOW)
    assert [version.version for version in (half, whole, third)] == [0, 1, 2]
    assert [version.rows for version in (half, whole, third)] == [2000, sp500.height, sp500.height + 1]
    assert lake.read(half).drop(INGESTED_AT).equals(sp500.head(2000))
    assert lake.read(whole).drop(INGESTED_AT).equals(sp500)
    assert lake.read(third, as_of=NOW - timedelta(seconds=1)).drop(INGESTED_AT).equals(sp500)
    assert latest(lake.read(third)).drop(INGESTED_AT, KNOWN_AT).equals(revised.drop(KNOWN_AT))


def test_two_lakes_that_were_filled_differently_have_one_digest(tmp_path, sp500):
    a, b = Lake(str(tmp_path / "a")), Lake((tmp_path / "b").as_uri())
    at_once = a.merge("t", sp500, ingested_at=NOW)
    for part in (sp500.head(1), sp500.tail(2000).reverse(), sp500):
        in_parts = b.merge("t", part.select(reversed(part.columns)), ingested_at=NOW + timedelta(1), monthly=True)
    assert in_parts.version == 2
    assert in_parts.digest == a.merge("monthly", sp500, ingested_at=NOW, monthly=True).digest != at_once.digest
    assert b.read(in_parts).drop(INGESTED_AT).select(sp500.columns).equals(a.read(at_once).drop(INGESTED_AT))


def test_columns_come_and_go(lake):
    lake.merge("t", numbers(1.0, 2.0), ingested_at=NOW)
    wider = numbers(2.0, 3.0, start=1).with_columns(pl.Series("a, {odd} name=", [None, 9.0]))
    version = lake.merge("t", wider, ingested_at=NOW)
    assert lake.read(version)["a, {odd} name="].to_list() == [None, None, 9.0]
    version = lake.merge("t", numbers(4.0, start=3), ingested_at=NOW)
    rows = lake.read(version)
    assert rows["value"].to_list() == [1.0, 2.0, 3.0, 4.0]
    assert rows["a, {odd} name="].to_list() == [None, None, 9.0, None]
    unchanged = lake.merge("t", numbers(1.0).with_columns(pl.lit(None, pl.Float64).alias("new")), ingested_at=NOW)
    assert unchanged == version


def test_intraday_tables_are_partitioned_by_month(lake):
    rows = numbers(*range(3)).with_columns(pl.col(TIME).dt.offset_by(pl.Series(["-40d", "0d", "40d"])))
    version = lake.merge("t", rows, ingested_at=NOW, monthly=True)
    folders = {path.parent.relative_to(lake.directory / "t").as_posix() for path in lake.directory.rglob("*.parquet")}
    assert folders == {f"time_year=2024/time_month={month}" for month in (4, 6, 7)}
    assert lake.read(version).drop(INGESTED_AT).equals(rows)
    more = lake.merge("t", numbers(9.0, start=5), ingested_at=NOW)
    assert lake.read(more)["value"].to_list() == [0.0, 1.0, 9.0, 2.0]


def test_a_derived_table_is_replaced_only_when_its_content_differs(lake):
    bars = numbers(1.0, 2.0, 3.0).with_columns(pl.lit(value=False).alias("filled"), pl.lit(1).cast(pl.Int64).alias("n"))
    first = lake.write("bars/x", bars)
    assert lake.write("bars/x", bars.reverse().select(reversed(bars.columns))) == first
    assert commits(lake, "bars/x") == 1
    second = lake.write("bars/x", bars.head(2).drop("n").with_columns(pl.col("value").cast(pl.String)))
    assert (second.version, second.rows) == (1, 2)
    assert lake.read(second).columns == [*KEY, "value", "filled"]
    assert lake.read(first).equals(bars)
    assert lake.write("bars/x", bars).digest == first.digest


def test_an_empty_table_is_a_table(lake):
    version = lake.write("frames/x", numbers())
    assert version.rows == 0
    assert lake.read(version).is_empty()


def test_forecasts_are_appended_once(lake):
    schema = {"series": pl.String, "issued_at": TIMESTAMP, "step": pl.Int64, "mean": pl.Float64}
    key = ("series", "issued_at", "step")
    forecast = pl.DataFrame([("x", NOW, step, float(step)) for step in (1, 2, 3)], schema=schema, orient="row")
    first = lake.append_unique("forecasts", forecast.head(2), key)
    whole = lake.append_unique("forecasts", pl.concat([forecast, forecast]), key)
    assert (first.rows, whole.rows) == (2, 3)
    other = forecast.with_columns(pl.col("mean") + 1)
    assert lake.append_unique("forecasts", other, key) == whole
    assert lake.read(whole).sort("step").equals(forecast)
    wider = pl.DataFrame([("y", 9.0)], schema={"series": pl.String, "lower": pl.Float64}, orient="row")
    wider = wider.with_columns(pl.lit(NOW).cast(TIMESTAMP).alias("issued_at"), pl.lit(1).cast(pl.Int64).alias("step"))
    rows = lake.read(lake.append_unique("forecasts", wider, key))
    assert rows.filter(series="y").select("mean", "lower").row(0) == (None, 9.0)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (numbers(1.0).rename({"value": "time_month"}), "the column name 'time_month' is reserved"),
        (numbers(1.0).cast({"value": pl.Float32}), "column 'value' is Float32"),
    ],
)
def test_rows_that_a_table_cannot_keep_leave_it_as_it_was(lake, rows, complaint):
    version = lake.merge("t", numbers(1.0), ingested_at=NOW)
    with pytest.raises(DataError, match=complaint):
        lake.merge("t", rows, ingested_at=NOW)
    assert lake.merge("t", numbers(1.0), ingested_at=NOW) == version


def test_another_type_than_the_table_has_is_refused(lake):
    lake.write("t", numbers(1.0).cast({"value": pl.String}))
    with pytest.raises(DataError, match="Table t: column 'value' is String in the table, but Float64 in the new rows"):
        lake.merge("t", numbers(1.0), ingested_at=NOW)
    with pytest.raises(DataError, match="is String in the table"):
        lake.append_unique("t", numbers(1.0), KEY)


@pytest.mark.parametrize("name", ["", "/t", "t/", "../t", "a/../b", "a b", ".t", "a//b", "_locks/t", "t\n"])
def test_names_that_could_lead_out_of_the_lake_are_refused(lake, name):
    with pytest.raises(LakeError, match="is no table's name"):
        lake.merge(name, numbers(1.0), ingested_at=NOW)


def test_tables_are_not_nested(lake):
    lake.merge("a/b", numbers(1.0), ingested_at=NOW)
    for name in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(LakeError, match="inside each other"):
            lake.merge(name, numbers(1.0), ingested_at=NOW)
    assert lake.tables() == ("a/b",)


@pytest.mark.parametrize("folder", ["with space", "ünïcode", "a#b", "plus+and&"])
def test_a_lake_may_stand_in_an_oddly_named_directory(tmp_path, folder):
    for root in (str(tmp_path / folder), (tmp_path / folder).as_uri()):
        lake = Lake(root)
        version = lake.merge("raw/x", numbers(1.0, 2.0), ingested_at=NOW, monthly=True)
        assert lake.read(version)["value"].to_list() == [1.0, 2.0]
        assert lake.tables() == ("raw/x",)
    assert (tmp_path / folder / "raw" / "x" / "_delta_log").is_dir()


@pytest.mark.parametrize(
    ("root", "error"),
    [("ftp://host/lake", NotSupportedError), ("http://host/lake", NotSupportedError), ("/a%20b", LakeError)],
)
def test_a_lake_cannot_stand_everywhere(root, error):
    with pytest.raises(error, match="A lake cannot stand at"):
        Lake(root)


def test_an_object_store_takes_its_options_and_has_no_lock():
    lake = Lake("s3://bucket/prefix/", storage_options={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert lake.stored("raw/x").uri == "s3://bucket/prefix/raw/x"
    assert lake.stored("raw/x").storage_options == {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    assert lake.directory is None
    assert lake.tables() == ()


def test_a_foreign_change_is_noticed_by_its_digest(lake):
    version = lake.merge("t", numbers(1.0, 2.0), ingested_at=NOW)
    shutil.rmtree(lake.directory / "t")
    other = Lake(str(lake.directory)).merge("t", numbers(1.0, 2.5), ingested_at=NOW)
    with pytest.raises(LakeError, match=f"has the digest {other.digest}, but {version.digest} was pinned"):
        lake.read(version)
    assert lake.read(version, verify=False)["value"].to_list() == [1.0, 2.5]


def damage_data(table: Path) -> None:
    for path in table.glob("*.parquet"):
        path.write_bytes(path.read_bytes()[:50])


def damage_log(table: Path) -> None:
    (table / "_delta_log" / "00000000000000000000.json").write_text("{garbage")


def delete_data(table: Path) -> None:
    for path in table.glob("*.parquet"):
        path.unlink()


@pytest.mark.parametrize("damage", [damage_data, damage_log, delete_data])
def test_a_damaged_table_is_an_error_that_says_what_to_do(lake, damage):
    version = lake.merge("t", numbers(1.0, 2.0), ingested_at=NOW)
    damage(lake.directory / "t")
    with pytest.raises(LakeError, match=r"The table at file://.*/t cannot be read: .*restore them from a copy"):
        lake.read(version)
    with pytest.raises(LakeError, match="cannot be read"):
        lake.merge("t", numbers(3.0), ingested_at=NOW)


def test_a_version_or_table_that_is_gone_is_an_error(lake):
    version = lake.merge("t", numbers(1.0), ingested_at=NOW)
    with pytest.raises(LakeError, match="cannot be read"):
        lake.read(version.model_copy(update={"version": 7}))
    with pytest.raises(LakeError, match="has no table u"):
        lake.read(version.model_copy(update={"table": "u"}))


def test_a_version_is_read_back_from_its_json(lake):
    version = lake.merge("t", numbers(1.0), ingested_at=NOW)
    assert TableVersion.model_validate_json(version.model_dump_json()) == version


def test_old_log_entries_are_never_dropped(lake):
    lake.merge("t", numbers(1.0), ingested_at=NOW)
    configuration = DeltaTable(lake.stored("t").uri).metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"


def test_a_table_that_another_process_holds_is_a_conflict(lake):
    impatient = Lake(str(lake.directory), lock_timeout=0.1)
    lake.merge("t", numbers(1.0), ingested_at=NOW)
    with lake.locked("t"), pytest.raises(LakeConflictError, match="Another process has been writing to table t"):
        impatient.merge("t", numbers(2.0, start=5), ingested_at=NOW)
    assert impatient.merge("t", numbers(2.0, start=5), ingested_at=NOW).rows == 2


class UnlockedLake(Lake):
    """A lake as on an object store: nothing keeps two writers apart but Delta itself."""

    def locked(self, table: str) -> AbstractContextManager[None]:
        return nullcontext()


def test_a_write_that_builds_on_an_old_version_is_refused(lake):
    lake.merge("t", numbers(1.0), ingested_at=NOW)
    stored = lake.stored("t")
    stale = stored.open()
    lake.merge("t", numbers(2.0, start=1), ingested_at=NOW)
    rows = lake.read(lake.merge("t", numbers(1.0), ingested_at=NOW)).head(1)
    assert stored.commit(stale, rows, monthly=False) is None
    assert stored.commit(stale, rows, monthly=False, replaced=ALL) is None
    assert stored.commit(None, rows, monthly=False) is None
    assert stored.commit(stored.open(), rows, monthly=False) == 2


class BusyTable(StoredTable):
    """A table to which somebody else commits a row just before each of our commits, as long as there are any."""

    others: ClassVar[list[pl.DataFrame]] = []

    def commit(self, snapshot: DeltaTable | None, rows: pl.DataFrame, **how: object) -> int | None:
        if self.others:
            Lake(str(Path(urlsplit(self.uri).path).parent)).merge("t", self.others.pop(), ingested_at=NOW)
        return super().commit(snapshot, rows, **how)


class BusyLake(UnlockedLake):
    def stored(self, table: str) -> StoredTable:
        return BusyTable(**vars(super().stored(table)))

    def _pause(self, table: str, attempt: int) -> float:
        return super()._pause(table, attempt) / 1000


@pytest.mark.parametrize("others", [1, 3, 9])
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_writers_that_meet_lose_and_repeat_nothing(lake, others, exists):
    if exists:
        lake.merge("t", numbers(100.0, start=200), ingested_at=NOW)
    BusyTable.others[:] = [numbers(float(number), start=number) for number in range(others)]
    version = BusyLake(str(lake.directory)).merge("t", numbers(50.0, 60.0, start=50), ingested_at=NOW)
    expected = [float(number) for number in range(others)] + [50.0, 60.0] + [100.0] * exists
    assert lake.read(version)["value"].to_list() == expected
    assert BusyTable.others == []


def test_a_row_that_somebody_else_adds_meanwhile_is_not_added_again(lake):
    lake.merge("t", numbers(1.0), ingested_at=NOW)
    BusyTable.others[:] = [numbers(5.0, 6.0, start=3)]
    version = BusyLake(str(lake.directory)).merge("t", numbers(5.0, 6.0, start=3), ingested_at=NOW)
    assert lake.read(version)["value"].to_list() == [1.0, 5.0, 6.0]
    assert commits(lake, "t") == 2


def test_a_writer_that_never_gets_through_gives_up(lake):
    lake.merge("t", numbers(1.0), ingested_at=NOW)
    BusyTable.others[:] = [numbers(float(number), start=number + 10) for number in range(20)]
    with pytest.raises(LakeConflictError, match="Others kept writing to table t"):
        BusyLake(str(lake.directory)).merge("t", numbers(5.0, start=5), ingested_at=NOW)
    assert len(BusyTable.others) == 10
    BusyTable.others.clear()


def test_pauses_are_bounded_and_seeded(tmp_path):
    def pauses(seed: int) -> list[float]:
        lake = Lake(str(tmp_path), seed=seed)
        return [lake._pause("t", attempt) for attempt in range(10)]

    assert pauses(1) == pauses(1) != pauses(2)
    assert pauses(1)[0] == 0.0
    assert max(pauses(1)) <= 2.0
