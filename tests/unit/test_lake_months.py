"""Tables that are kept by months: what is read, what the digest is made of, and what commits say beside their rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import itemgetter

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_rows import minutes_of_2016

from presage.errors import LakeError
from presage.frame import INGESTED_AT, KEY, KNOWN_AT, SERIES, TIME, TIMESTAMP
from presage.lake import notes, stored
from presage.lake.content import BY_MONTH, digest, month_content, months_digest
from presage.lake.manifest import RunManifest, load_manifest, save_manifest
from presage.lake.notes import NOTE, read_notes
from presage.lake.plans import split_by_month
from presage.lake.retention import retain
from presage.lake.stored import PARTITIONS
from presage.lake.tables import Lake, TableVersion
from presage.lake.vintages import Continued

NOW = datetime(2019, 6, 1, tzinfo=UTC)
TABLE = "raw/default.btc/btc-0a1b"


@pytest.fixture(scope="module")
def minutes(shared_data) -> pl.DataFrame:
    """Real one-minute rows of two markets, October to December 2016."""
    return minutes_of_2016(shared_data).filter(pl.col(TIME) >= datetime(2016, 10, 1, tzinfo=UTC)).sort(KEY)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def merge(lake: Lake, rows: pl.DataFrame, **how: object) -> TableVersion:
    return lake.merge(TABLE, rows, **{"ingested_at": NOW, "monthly": True, **how})


def hours(start: datetime, *values: float) -> pl.DataFrame:
    times = pl.Series([start + timedelta(hours=place) for place in range(len(values))], dtype=TIMESTAMP)
    return pl.DataFrame({SERIES: ["x"] * len(values), TIME: times, KNOWN_AT: times, "value": pl.Series(values)}).cast(
        {SERIES: pl.String, "value": pl.Float64}
    )


def test_one_batch_and_many_in_any_order_have_one_digest(tmp_path, minutes):
    whole = merge(Lake(str(tmp_path / "whole")), minutes)
    assert whole.digest.startswith(BY_MONTH)
    for seed in range(3):
        lake = Lake(str(tmp_path / str(seed)))
        shuffled = minutes.sample(fraction=1.0, shuffle=True, seed=seed)
        step = minutes.height // 7 + 1
        for start in range(0, minutes.height, step):
            version = merge(lake, shuffled.slice(start, step), ingested_at=NOW + timedelta(minutes=seed))
        assert (version.digest, version.rows) == (whole.digest, minutes.height)
        assert lake.read(version).drop(INGESTED_AT).equals(minutes)


def test_the_digest_is_that_of_the_months(lake, minutes):
    version = merge(lake, minutes)
    months = {name: month_content(part) for name, part in split_by_month(minutes)}
    assert list(months) == ["2016-10", "2016-11", "2016-12"]
    assert version.digest == months_digest(months)
    assert months["2016-10"].digest == digest(minutes.filter(pl.col(TIME).dt.month() == 10))
    other = minutes.with_columns(pl.when(pl.int_range(pl.len()) == 9).then(1.0).otherwise("close").alias("close"))
    assert merge(Lake(str(lake.directory.parent / "other")), other).digest != version.digest


def test_a_column_that_comes_later_leaves_the_digests_of_other_months(tmp_path):
    early, late = hours(datetime(2019, 1, 1, tzinfo=UTC), 1.0), hours(datetime(2019, 2, 1, tzinfo=UTC), 2.0)
    late = late.with_columns(pl.lit(3.0).alias("more"))
    digests = set()
    for name, batches in {
        "a": (early, late),
        "b": (late, early),
        "c": (pl.concat([early, late], how="diagonal"),),
    }.items():
        lake = Lake(str(tmp_path / name))
        for batch in batches:
            version = merge(lake, batch)
        digests.add(version.digest)
    assert len(digests) == 1


def test_a_batch_reads_only_the_months_that_it_touches(lake, minutes):
    merge(lake, minutes)
    for path in (lake.directory / TABLE).glob("time_year=2016/time_month=1[01]/*.parquet"):
        path.write_bytes(b"no Parquet")
    december = minutes.filter(pl.col(TIME).dt.month() == 12)
    assert merge(lake, december).version == 0
    version = merge(lake, december.with_columns(pl.col(TIME, KNOWN_AT).dt.offset_by("1mo")))
    assert version.rows > minutes.height
    with pytest.raises(LakeError, match="cannot be read"):
        lake.read(version)


def test_a_scan_gives_the_months_in_order_and_checks_them(lake, minutes):
    version = merge(lake, minutes)
    parts = list(lake.scan(version))
    assert pl.concat(parts).sort(KEY).drop(INGESTED_AT).equals(minutes)
    assert [part[TIME].dt.month().unique().to_list() for part in parts] == [[10], [11], [12]]
    newest = list(lake.scan(version, newest_first=True, as_of=datetime(2016, 11, 20, tzinfo=UTC)))
    assert [part.height > 0 for part in newest] == [False, True, True]
    known = minutes.filter(pl.col(KNOWN_AT) <= datetime(2016, 11, 20, tzinfo=UTC))
    assert sum(part.height for part in newest) == known.height
    with pytest.raises(LakeError, match="was pinned"):
        list(lake.scan(version.model_copy(update={"digest": BY_MONTH + "0" * 64})))


def test_a_table_that_is_not_kept_by_months_is_scanned_at_once(lake):
    version = lake.merge("raw/x", hours(datetime(2019, 1, 31, 22, tzinfo=UTC), *range(5)), ingested_at=NOW)
    assert [part.height for part in lake.scan(version)] == [5]


def test_an_empty_table_is_scanned_as_one_empty_part(lake):
    version = merge(lake, hours(NOW))
    assert [part.columns for part in lake.scan(version)] == [[*KEY, "value", INGESTED_AT]]
    assert merge(lake, hours(NOW)) == version


def as_the_first_presage_wrote(lake: Lake, rows: pl.DataFrame) -> TableVersion:
    """Write a table by months as Presage did before commits had notes, and pin it by the digest of all rows."""
    rows = rows.with_columns(pl.lit(NOW).cast(TIMESTAMP).alias(INGESTED_AT))
    time = pl.col(TIME).dt
    parts = rows.with_columns(time.year().alias(PARTITIONS[0]), time.month().alias(PARTITIONS[1]))
    uri = lake.stored(TABLE).uri
    for part in (parts.head(1000), parts.tail(-1000)):
        write_deltalake(uri, part, partition_by=list(PARTITIONS), mode="append")
    return TableVersion(table=TABLE, version=1, rows=rows.height, digest=digest(rows))


def test_a_table_of_the_first_presage_is_read_and_goes_on(lake, minutes):
    pinned = as_the_first_presage_wrote(lake, minutes)
    manifest = {"run": "r", "job": "j", "namespace": "n", "spec_digest": "s", "procedure_digest": "p"}
    manifest |= {"tables": {"btc": pinned.model_dump()}, "seed": 0, "lock_digest": "l", "created_at": NOW.isoformat()}
    path = lake.directory.parent / "manifest.json"
    path.write_text(json.dumps({"version": "v1", **manifest}))
    pinned = load_manifest(path).tables["btc"]
    assert lake.read(pinned).drop(INGESTED_AT).equals(minutes)
    assert sum(part.height for part in lake.scan(pinned)) == minutes.height
    now = merge(lake, minutes)
    assert now.version == 1
    assert now.digest == merge(Lake(str(lake.directory.parent / "new")), minutes).digest
    more = merge(lake, hours(NOW, 1.0).rename({"value": "close"}))
    assert lake.read(more).height == minutes.height + 1
    told = read_notes(DeltaTable(lake.stored(TABLE).uri))
    assert told.months is not None
    assert set(told.months) == {"2016-10", "2016-11", "2016-12", "2019-06"}
    assert lake.read(pinned).drop(INGESTED_AT).equals(minutes)
    with pytest.raises(LakeError, match="was pinned"):
        list(lake.scan(pinned.model_copy(update={"digest": "sha256:" + "0" * 64})))


def test_a_commit_of_somebody_else_is_read_instead_of_believed(lake, minutes):
    merge(lake, minutes)
    uri = lake.stored(TABLE).uri
    foreign = hours(NOW, 1.0).rename({"value": "close"}).with_columns(pl.lit(NOW).cast(TIMESTAMP).alias(INGESTED_AT))
    time = pl.col(TIME).dt
    parts = foreign.with_columns(time.year().alias(PARTITIONS[0]), time.month().alias(PARTITIONS[1]))
    write_deltalake(uri, parts, mode="append", schema_mode="merge")
    assert read_notes(DeltaTable(uri)).months is None
    version = merge(lake, minutes)
    assert version.rows == minutes.height + 1
    assert lake.read(version).height == version.rows


def test_a_note_of_a_later_presage_counts_as_none(lake):
    first = merge(lake, hours(NOW, 1.0), bookmark="a")
    uri = lake.stored(TABLE).uri
    later = CommitProperties(custom_metadata={NOTE: '{"layout":2,"version":1}'})
    row = hours(NOW + timedelta(hours=1), 2.0).with_columns(pl.lit(NOW).cast(TIMESTAMP).alias(INGESTED_AT))
    row = row.with_columns(pl.lit(2019, pl.Int32).alias(PARTITIONS[0]), pl.lit(6, pl.Int8).alias(PARTITIONS[1]))
    write_deltalake(uri, row, mode="append", commit_properties=later)
    newest = lake.newest(TABLE)
    assert newest is not None
    assert (newest.version, newest.bookmark) == (first.version + 1, "")
    assert merge(lake, hours(NOW)).rows == 2


def test_notes_are_found_however_many_commits_there_are(lake, monkeypatch):
    monkeypatch.setattr(notes, "COMPLETE_EVERY", 8)
    start = datetime(2019, 1, 1, tzinfo=UTC)
    total = 21
    for number in range(total):
        version = merge(lake, hours(start + timedelta(days=number), float(number)), bookmark=str(number))
    assert version.rows == total
    history = DeltaTable(lake.stored(TABLE).uri).history()
    complete = [commit["version"] for commit in history if json.loads(commit[NOTE]).get("complete")]
    assert complete == [16, 8, 0]
    assert max(len(json.loads(commit[NOTE])["months"]) for commit in history if commit["version"] % 8) == 1
    assert lake.read(version).height == total
    newest = lake.newest(TABLE)
    assert newest is not None
    assert newest.bookmark == str(total - 1)
    assert lake.current(TABLE) == version


def test_compaction_keeps_bookmark_and_digest(lake, tmp_path):
    start = datetime(2019, 1, 1, tzinfo=UTC)
    for number in range(60):
        version = merge(lake, hours(start + timedelta(hours=number), float(number)), bookmark=str(number))
    manifest = RunManifest(
        run="r", job="j", namespace="n", spec_digest="s", procedure_digest="p", tables={"x": version}, seed=0,
        lock_digest="l", created_at=NOW,
    )  # fmt: skip
    save_manifest(tmp_path / "runs" / "r", manifest)
    assert retain(lake, tmp_path / "runs", keep=1).compacted == (TABLE,)
    snapshot = DeltaTable(lake.stored(TABLE).uri)
    assert snapshot.version() == version.version + 1
    told = read_notes(snapshot)
    assert (told.bookmark, told.months is None) == ("59", False)
    assert merge(lake, hours(start, 0.0)).digest == version.digest


@pytest.mark.parametrize("monthly", [True, False])
def test_a_bookmark_stands_in_the_commit_of_its_rows(lake, monthly):
    assert lake.newest(TABLE) is None
    merge(lake, hours(NOW, 1.0), bookmark="a", monthly=monthly)
    merge(lake, hours(NOW, 1.0, 2.0), monthly=monthly)
    newest = lake.newest(TABLE)
    assert newest is not None
    assert (newest.version, newest.bookmark, newest.columns) == (1, "a", ("value",))
    version = merge(lake, hours(NOW, 1.0), bookmark="b", monthly=monthly)
    assert version.version == 2  # a bookmark alone is kept too
    assert merge(lake, hours(NOW, 1.0), bookmark="b", monthly=monthly) == version
    newest = lake.newest(TABLE)
    assert newest is not None
    assert newest.bookmark == "b"
    assert lake.read(version)["value"].to_list() == [1.0, 2.0]


def test_years_of_any_length_are_months_of_their_own():
    rows = pl.concat([hours(datetime(year, 12, 31, 23, tzinfo=UTC), 1.0, 2.0) for year in (950, 1969, 2024)])
    names = [name for name, _ in split_by_month(rows)]
    assert names == ["0950-12", "0951-01", "1969-12", "1970-01", "2024-12", "2025-01"]
    assert stored._is_in(["0950-12"]) == "(time_year = 950 AND time_month = 12)"


def read_in(
    lake: Lake, batches: list[pl.DataFrame], *, ingested_at: datetime, published: bool, monthly: bool
) -> TableVersion:
    """Merge batches as one read in many chunks."""
    newest = lake.newest(TABLE)
    continued = Continued(-1 if newest is None else newest.version, published)
    for batch in batches:
        version = lake.merge(TABLE, batch, ingested_at=ingested_at, monthly=monthly, continued=continued)
    return version


HOUR = timedelta(hours=1)
ROW = st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([1.0, 2.0]))


def as_rows(told: list[tuple[int, int, float]], *, published: bool) -> pl.DataFrame:
    """Rows of four hours around the end of a month, known at one of three moments where the source tells it."""
    start = datetime(2019, 1, 31, 22, tzinfo=UTC)
    times = [start + place * HOUR for place, _, _ in told]
    known = [start + (place + 1) * HOUR + (vintage * HOUR if published else timedelta(0)) for place, vintage, _ in told]
    rows = pl.DataFrame(
        {
            SERIES: pl.Series(["x"] * len(told), dtype=pl.String),
            TIME: pl.Series(times, dtype=TIMESTAMP),
            KNOWN_AT: pl.Series(known, dtype=TIMESTAMP),
            "value": pl.Series([value for _, _, value in told], dtype=pl.Float64),
        }
    )
    return rows.unique(KEY, keep="last", maintain_order=True)


@pytest.mark.parametrize("monthly", [True, False])
@pytest.mark.parametrize("published", [True, False])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(ROW, max_size=4),
    told=st.lists(ROW, min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 8), max_size=2),
    days=st.sampled_from([1, -1]),
)
def test_a_read_in_chunks_gives_what_it_gives_at_once(tmp_path_factory, published, monthly, before, told, cuts, days):
    root = tmp_path_factory.mktemp("lakes")
    versions = []
    said = sorted(told, key=itemgetter(1)) if published else told
    for name in ("whole", "chunks"):
        lake = Lake(str(root / name))
        if before:
            lake.merge(TABLE, as_rows(before, published=published), ingested_at=NOW, monthly=monthly)
        edges = [0, *sorted(cuts), len(told)] if name == "chunks" else [0, len(told)]
        batches = [said[start:stop] for start, stop in pairwise(edges) if start < stop]
        rows = [as_rows(batch, published=published) for batch in batches]
        moment = NOW + timedelta(days=days)
        versions.append(read_in(lake, rows, ingested_at=moment, published=published, monthly=monthly))
    assert versions[0].digest == versions[1].digest
    assert versions[0].rows == versions[1].rows


def test_a_read_that_goes_on_later_is_another_read(lake):
    first = read_in(lake, [hours(NOW, 1.0)], ingested_at=NOW, published=False, monthly=True)
    assert first.rows == 1
    second = read_in(lake, [hours(NOW, 2.0)], ingested_at=NOW + HOUR, published=False, monthly=True)
    assert lake.read(second).select(KNOWN_AT, "value").rows() == [(NOW, 1.0), (NOW + HOUR, 2.0)]


def test_rows_of_an_earlier_run_at_the_same_moment_stay_vintages(lake):
    read_in(lake, [hours(NOW, 1.0)], ingested_at=NOW, published=False, monthly=True)
    second = read_in(lake, [hours(NOW, 2.0), hours(NOW, 3.0)], ingested_at=NOW, published=False, monthly=True)
    assert lake.read(second)["value"].to_list() == [1.0, 3.0]


def test_what_a_later_chunk_takes_back_was_never_there(lake):
    read_in(lake, [hours(NOW, 1.0, 5.0)], ingested_at=NOW, published=False, monthly=True)
    version = read_in(
        lake, [hours(NOW, 2.0, 6.0), hours(NOW, 1.0)], ingested_at=NOW + HOUR, published=False, monthly=True
    )
    assert lake.read(version)["value"].to_list() == [1.0, 5.0, 6.0]
