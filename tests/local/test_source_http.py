"""Documents and candles behind HTTP: doubles of FRED, Coin Metrics and a broker, and servers that go wrong."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import polars as pl
import pytest
from commands import EXAMPLES, presage
from doubles import broker, coin_metrics, fred
from doubles.broker import Candle, broker_double
from doubles.coin_metrics import coin_metrics_double
from doubles.fred import fred_double
from doubles.web import Asked, Reply, Site, documents, site
from polars.testing import assert_frame_equal
from source_case import DAY, SEEDS, asked

from presage.errors import DataError, JobError, MissingExtraError, PresageError, SourceUnavailableError
from presage.frame import KNOWN_AT, SERIES, TIME
from presage.sources.contract import Table
from presage.sources.download import Downloads, Limits
from presage.sources.http import read
from presage.sources.registry import override
from presage.sources.retries import ATTEMPTS
from presage.sources.rows import SourceRows, read_rows, to_rows
from presage.sources.secrets import environment_secret
from presage.spec.base import parse_frequency
from presage.spec.load import load_job
from presage.spec.sources import Source

HERE = Path("/")
TEXT = "Date,Open,Close\n2020-03-01,1,2\n2020-03-02,3,4\n2020-03-03,5,6\n"
PRICES = b'{"data": {"rows": [{"Date": "2020-03-01", "Open": 1, "Close": "2"}, {"Date": "2020-03-02", "Open": 3}]}}'
ROWS = {"records": "/data/rows"}
SECRET = "s3cr3t/with+signs"
Waits = list[float]


def declare(url: str, **fields: object) -> Source:
    names = ("records", "next", "symbols", "since", "span", "secretRef", "format", "skipRows", "nullValues")
    http = {"url": url} | {name: fields.pop(name) for name in names if name in fields}
    base = {"name": "btc", "time": "Date", "availability": {"lag": "0s"}}
    return Source.model_validate(base | {"http": http} | fields)


def secrets(**values: str) -> dict[str, object]:
    return {"secret": lambda reference: values}


def rows_of(url: str, request: Mapping[str, object] = {}, **fields: object) -> SourceRows:
    return read_rows(declare(url, **fields), asked(HERE, **request))


def served(contents: bytes, media: str = "text/plain", **headers: str) -> Callable[[Asked], Reply]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(contents, headers={"Content-Type": media} | named)


def refusal(
    answer: Callable[[Asked], Reply], error: type[PresageError] = DataError, path: str = "/prices", **fields: object
) -> str:
    """Return what is said of a server's answer, after making sure that nothing was given and no secret is told."""
    given: list[Table] = []
    with site(answer) as running, pytest.raises(error) as raised:
        given.extend(read(declare(running.url + path, **fields), asked(HERE)))
    assert given == []
    assert "source 'btc'" in raised.value.what
    assert raised.value.remedy
    return str(raised.value)


def csv_rows(file: Path) -> list[dict[str, str]]:
    return pl.read_csv(file, infer_schema=False).fill_null("").to_dicts()


# What can be read


@pytest.mark.parametrize(
    ("path", "reply", "fields"),
    [
        ("/a.csv", Reply(TEXT.encode()), {}),
        ("/a.csv", Reply(TEXT.encode(), length=-1), {}),
        ("/a?format=csv", Reply(b"banner\n" + TEXT.encode(), headers={"Content-Type": "text/html"}), {"skipRows": 1}),
        ("/a.csv.gz", Reply(gzip.compress(TEXT.encode(), mtime=0)), {}),
        ("/a", Reply(gzip.compress(TEXT.encode(), mtime=0), headers={"Content-Type": "application/gzip"}), {}),
        ("/a.csv", Reply(gzip.compress(TEXT.encode(), mtime=0), headers={"Content-Encoding": "gzip"}), {}),
        ("/a.csv.gz", Reply(gzip.compress(TEXT.encode(), mtime=0), headers={"Content-Encoding": "gzip"}), {}),
        ("/a?file=b.csv.gz", Reply(TEXT.encode()), {}),
    ],
)
def test_a_csv_document_is_read_packed_or_plain(path, reply, fields):
    with site(lambda _: reply) as running:
        rows = rows_of(running.url + path, **fields).rows
    assert rows["Close"].to_list() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(("path", "media"), [("/a.parquet", ""), ("/a", "application/vnd.apache.parquet")])
def test_a_parquet_document_is_told_by_its_name_or_its_media_type(path, media):
    buffer = io.BytesIO()
    pl.read_csv(TEXT.encode()).write_parquet(buffer)
    with site(served(buffer.getvalue(), media)) as running:
        assert rows_of(running.url + path).rows["Close"].to_list() == [2.0, 4.0, 6.0]


def test_the_seed_of_kraken_is_read_with_its_banner(shared_data):
    file = shared_data / "kraken_daily" / "Kraken_BTCUSD_d.csv"
    with documents({"/cdd/Kraken_BTCUSD_d.csv": file.read_bytes()}) as running:
        rows = rows_of(f"{running.url}/cdd/Kraken_BTCUSD_d.csv", skipRows=1, columns={"Close": "Close"}).rows
    assert rows.height == 2191


def test_observations_of_a_fred_double_are_those_of_the_file(shared_data):
    file = shared_data / "fred_macro" / "DGS10_to2023.csv.gz"
    told = csv_rows(file)
    with fred_double({"DGS10": [(row["date"], row["value"]) for row in told]}) as running:
        url = f"{running.url}{fred.PATH}?series_id=DGS10&file_type=json&api_key={{secret:api_key}}"
        rows = rows_of(
            url,
            secrets(API_KEY=fred.KEY),
            records="/observations",
            secretRef={"name": "fred"},
            time="date",
            columns={"yield": "value"},
        ).rows
    held = [row for row in told if row["value"]]
    assert rows[TIME].dt.date().cast(pl.String).to_list() == [row["date"] for row in held]
    assert rows["yield"].to_list() == [float(row["value"]) for row in held]
    assert len(held) < len(told)


def test_pages_of_a_coin_metrics_double_are_the_rows_of_the_file(shared_data):
    told = csv_rows(shared_data / "coinmetrics_community" / "coinmetrics_btc.csv.gz")
    assets = {"btc": [{"time": row["date"], **row} for row in told]}
    with coin_metrics_double(assets, page_size=500) as running:
        url = f"{running.url}{coin_metrics.PATH}?assets=btc&metrics=PriceUSD,AdrActCnt&page_size=500"
        fields = {"records": "/data", "next": "/next_page_url", "time": "time"}
        columns = {"price": "PriceUSD", "addresses": "AdrActCnt"}
        rows = rows_of(url, **fields, columns=columns).rows
        (table,) = read(declare(url, **fields, columns=columns), asked(HERE))
    assert len(running.asked) == 2 * 8
    assert [part.rows for part in table.parts] == [500] * 7 + [len(told) - 3500]
    assert table.where(500).endswith(", page 2, row 1")
    assert rows["addresses"].to_list() == [float(row["AdrActCnt"]) for row in told if row["AdrActCnt"]]
    priced = rows.filter(pl.col("price").is_not_null())
    assert priced["price"].to_list() == [float(row["PriceUSD"]) for row in told if row["PriceUSD"]]


def test_an_answer_of_objects_by_symbol_gives_a_series_each():
    body = b'{"bars": {"A": [{"Date": "2020-03-01", "c": 1}], "B": [{"Date": "2020-03-01", "c": 2}], "C": null}}'
    with site(served(body)) as running:
        rows = rows_of(f"{running.url}/bars", records="/bars").rows
    assert rows.select(SERIES, "c").rows() == [("A", 1.0), ("B", 2.0)]


# Candles by symbol and span


@pytest.fixture(scope="module")
def candles(shared_data: Path) -> dict[str, list[Candle]]:
    """A year of candles of three stocks; one was listed late, one was delisted."""
    table = pl.read_csv(shared_data / "sp500_stocks_5yr" / "sp500_stocks_5yr.csv.gz").drop_nulls()
    day = pl.col("date").str.to_date()
    table = table.filter(day.dt.year() == 2016).with_columns(day.dt.epoch("ms").alias("ms"))
    found = {
        name: table.filter(pl.col("Name") == name).sort("ms").select("ms", "open", "high", "low", "close", "volume")
        for name in ("AAL", "AAPL", "MSFT")
    }
    return {
        "AAL": found["AAL"].head(100).rows(),
        "AAPL": found["AAPL"].rows(),
        "MSFT": found["MSFT"].tail(60).rows(),
    }


BROKER = {
    "records": "/candles",
    "symbols": ["AAL", "AAPL", "MSFT"],
    "since": "2016-01-01",
    "span": "60d",
    "secretRef": {"name": "broker"},
    "time": "0",
    "timeUnit": "ms",
    "columns": {"open": "1", "high": "2", "low": "3", "close": "4", "volume": "5"},
}
YEAR_END = datetime(2017, 1, 1, tzinfo=UTC)
WITH_KEY = secrets(**{"X-Api-Key": broker.KEY})


def candle_source(running: Site, **fields: object) -> Source:
    return declare(f"{running.url}/candles/{{symbol}}?from={{start:ms}}&to={{end:ms}}", **(BROKER | fields))


def merged(tables: list[Table], source: Source) -> pl.DataFrame:
    rows = pl.concat([to_rows(source, table, frequency=DAY).rows for table in tables])
    return rows.unique((SERIES, TIME), keep="last").sort(SERIES, TIME, KNOWN_AT)


def test_candles_of_a_broker_double_come_by_span_and_symbol(candles):
    with broker_double(candles) as running:
        source = candle_source(running)
        tables = list(read(source, asked(HERE, end=YEAR_END, **WITH_KEY)))
    spans = [(int(one.query["from"]), int(one.query["to"])) for one in running.asked]
    assert spans == sorted(spans)
    assert len(spans) == 3 * 7
    assert max(last - first for first, last in spans) == 60 * 86_400_000
    rows = merged(tables, source)
    assert rows[SERIES].unique().sort().to_list() == ["AAL", "AAPL", "MSFT"]
    for symbol, told in candles.items():
        own = rows.filter(pl.col(SERIES) == symbol)
        assert own["close"].to_list() == [candle[4] for candle in told]
        assert own["volume"].to_list() == [float(candle[5]) for candle in told]


def test_objects_under_their_symbol_are_the_same_candles(candles):
    names = {"records": "/bars", "time": "t", "columns": {"close": "c"}}
    with broker_double(candles) as running:
        source = candle_source(running, columns={"close": "4"})
        objects = declare(f"{running.url}/bars/{{symbol}}?from={{start:ms}}&to={{end:ms}}", **(BROKER | names))
        request = asked(HERE, end=YEAR_END, **WITH_KEY)
        assert_frame_equal(merged(list(read(objects, request)), objects), merged(list(read(source, request)), source))


def test_a_read_that_is_broken_off_anywhere_goes_on_at_its_bookmark(candles):
    with broker_double(candles) as running:
        source = candle_source(running)
        request = asked(HERE, end=YEAR_END, **WITH_KEY)
        tables = list(read(source, request))
        whole = merged(tables, source)
        for kept in range(1, len(tables) + 1):
            rest = list(read(source, asked(HERE, end=YEAR_END, bookmark=tables[kept - 1].bookmark, **WITH_KEY)))
            assert_frame_equal(merged([*tables[:kept], *rest], source), whole)


def test_a_later_read_asks_from_the_last_rows_on(candles):
    early = datetime(2016, 7, 1, tzinfo=UTC)
    with broker_double(candles) as running:
        source = candle_source(running)
        first = list(read(source, asked(HERE, end=early, **WITH_KEY)))
        running.asked.clear()
        second = list(read(source, asked(HERE, end=YEAR_END, bookmark=first[-1].bookmark, **WITH_KEY)))
        asked_from = {one.path: int(one.query["from"]) for one in reversed(running.asked)}
        newest = max(candle[0] for candle in candles["AAPL"] if candle[0] < early.timestamp() * 1000)
        assert asked_from["/candles/AAPL"] == newest - 86_400_000
        whole = list(read(source, asked(HERE, end=YEAR_END, **WITH_KEY)))
    assert_frame_equal(merged([*first, *second], source), merged(whole, source))


def test_rows_that_come_late_are_not_skipped(candles):
    early, delay = datetime(2016, 7, 1, tzinfo=UTC), timedelta(days=10)
    cut = (early - delay).timestamp() * 1000
    late = {"AAPL": [candle for candle in candles["AAPL"] if candle[0] < cut]}
    with broker_double(late) as running:
        source = candle_source(running, symbols=["AAPL"], span="5d")
        first = list(read(source, asked(HERE, end=early, **WITH_KEY)))
        late["AAPL"] = candles["AAPL"]
        rest = list(read(source, asked(HERE, end=YEAR_END, bookmark=first[-1].bookmark, **WITH_KEY)))
    assert merged([*first, *rest], source).height == len(candles["AAPL"])


def test_a_span_that_is_asked_for_takes_no_notice_of_the_bookmark(candles):
    start, end = datetime(2016, 3, 1, tzinfo=UTC), datetime(2016, 4, 1, tzinfo=UTC)
    with broker_double(candles) as running:
        source = candle_source(running, symbols=["AAPL"])
        last = list(read(source, asked(HERE, end=YEAR_END, **WITH_KEY)))[-1]
        tables = list(read(source, asked(HERE, start=start, end=end, bookmark=last.bookmark, **WITH_KEY)))
    times = merged(tables, source)[TIME]
    assert times.min() == start
    assert times.max() == datetime(2016, 3, 31, tzinfo=UTC)


def test_a_symbol_with_signs_is_written_into_the_address_as_it_must_be():
    body = b'{"candles": [[1451606400000, 1, 1, 1, 1, 1]]}'
    with site(served(body)) as running:
        source = candle_source(running, symbols=["BRK/B &?"], span=None)
        (table,) = read(source, asked(HERE, end=YEAR_END, **WITH_KEY))
    assert running.asked[0].path == "/candles/BRK/B &?"
    assert table.data["symbol"].to_list() == ["BRK/B &?"]


# Documents that have not changed


def test_an_unchanged_document_gives_no_table_and_a_changed_one_does():
    version = {"tag": '"1"', "body": TEXT}

    def answer(one: Asked) -> Reply:
        if one.headers.get("if-none-match") == version["tag"]:
            return Reply(status=304)
        return Reply(version["body"].encode(), headers={"ETag": version["tag"]})

    with site(answer) as running:
        source = declare(f"{running.url}/a.csv")
        (first,) = read(source, asked(HERE))
        assert list(read(source, asked(HERE, bookmark=first.bookmark))) == []
        assert (
            len(list(read(source, asked(HERE, bookmark=first.bookmark, start=datetime(2020, 1, 1, tzinfo=UTC))))) == 1
        )
        version |= {"tag": '"2"', "body": f"{TEXT}2020-03-04,7,8\n"}
        (second,) = read(source, asked(HERE, bookmark=first.bookmark))
        assert second.data.height == 4
        assert list(read(source, asked(HERE, bookmark=second.bookmark))) == []


def test_a_document_without_an_etag_goes_by_the_time_of_its_change():
    changed = "Sun, 01 Mar 2020 00:00:00 GMT"

    def answer(one: Asked) -> Reply:
        same = one.headers.get("if-modified-since") == changed
        return Reply(status=304) if same else Reply(TEXT.encode(), headers={"Last-Modified": changed})

    with site(answer) as running:
        source = declare(f"{running.url}/a.csv")
        (first,) = read(source, asked(HERE))
        assert list(read(source, asked(HERE, bookmark=first.bookmark))) == []


def test_each_symbol_s_document_has_its_own_version():
    bodies = {"/A": TEXT, "/B": TEXT}

    def answer(one: Asked) -> Reply:
        tag = f'"{len(bodies[one.path])}"'
        same = one.headers.get("if-none-match") == tag
        return Reply(status=304) if same else Reply(bodies[one.path].encode(), headers={"ETag": tag})

    with site(answer) as running:
        source = declare(f"{running.url}/{{symbol}}", symbols=["A", "B"])
        tables = list(read(source, asked(HERE)))
        assert [table.data["symbol"][0] for table in tables] == ["A", "B"]
        (missed,) = read(source, asked(HERE, bookmark=tables[0].bookmark))
        assert missed.data["symbol"][0] == "B"
        bodies["/A"] += "2020-03-04,7,8\n"
        (changed,) = read(source, asked(HERE, bookmark=missed.bookmark))
        assert changed.data["symbol"][0] == "A"
        assert list(read(source, asked(HERE, bookmark=changed.bookmark))) == []


def test_rows_later_than_the_read_are_left_out_and_come_with_the_next():
    with site(served(TEXT.encode(), ETag='"1"')) as running:
        source = declare(f"{running.url}/a.csv")
        (early,) = read(source, asked(HERE, end=datetime(2020, 3, 2, tzinfo=UTC)))
        assert early.data["Date"].to_list() == ["2020-03-01"]
        assert early.bookmark == ""
        (whole,) = read(source, asked(HERE, bookmark=early.bookmark))
    assert whole.data.height == 3


def test_the_place_of_a_row_holds_where_later_rows_stand_above_it():
    with (
        site(served(b"Date,Close\n2020-03-03,3\n2020-03-01,1\n2020-03-02,x\n")) as running,
        pytest.raises(DataError, match="line 4, column 'Close': 'x' is no number"),
    ):
        rows_of(f"{running.url}/a.csv", {"end": datetime(2020, 3, 3, tzinfo=UTC)}, columns={"Close": "Close"})


def test_a_bookmark_that_this_version_did_not_write_is_a_read_of_all():
    with site(served(TEXT.encode())) as running:
        assert len(list(read(declare(f"{running.url}/a.csv"), asked(HERE, bookmark="of another kind")))) == 1


# Servers that fail


@pytest.fixture
def waits() -> Waits:
    return []


@pytest.mark.parametrize(
    "fault",
    [
        Reply(status=503),
        Reply(status=500),
        Reply(status=429, headers={"Retry-After": "7"}),
        Reply(TEXT.encode(), length=len(TEXT) + 1),
        Reply(gzip.compress(TEXT.encode(), mtime=0)[:-9], headers={"Content-Encoding": "gzip"}, length=-1),
    ],
)
def test_a_fault_that_passes_is_tried_again(fault, waits):
    replies = itertools.chain([fault, fault], itertools.repeat(Reply(TEXT.encode())))
    with site(lambda _: next(replies)) as running:
        (table,) = read(declare(f"{running.url}/a.csv"), asked(HERE, sleep=waits.append))
    assert table.data.height == 3
    assert len(waits) == 2
    assert waits[0] == waits[1] == 7 if fault.status == 429 else 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1


def test_a_server_that_stays_faulty_is_told_after_a_few_attempts(waits):
    with site(lambda _: Reply(status=503)) as running:
        source = declare(f"{running.url}/a.csv")
        with pytest.raises(
            SourceUnavailableError, match=r"/a.csv: the server answers 503 Service Unavailable, 5 times"
        ):
            list(read(source, asked(HERE, sleep=waits.append)))
    assert len(running.asked) == ATTEMPTS
    assert len(waits) == ATTEMPTS - 1


def test_a_server_that_asks_to_wait_by_a_date_is_believed_by_its_own_clock(waits):
    now, later = "Thu, 01 Jan 1998 00:00:00 GMT", "Thu, 01 Jan 1998 00:00:20 GMT"
    replies = iter([Reply(status=503, headers={"Retry-After": later}, date=now), Reply(TEXT.encode())])
    with site(lambda _: next(replies)) as running:
        list(read(declare(f"{running.url}/a.csv"), asked(HERE, sleep=waits.append)))
    assert waits == [20.0]


def test_a_server_that_asks_to_wait_for_hours_is_left(waits):
    with (
        site(lambda _: Reply(status=429, headers={"Retry-After": "3600"})) as running,
        pytest.raises(SourceUnavailableError, match="429 Too Many Requests, and asks to wait 3600 s"),
    ):
        list(read(declare(f"{running.url}/a.csv"), asked(HERE, sleep=waits.append)))
    assert waits == []


def test_a_server_that_is_down_is_told():
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.csv"
        with pytest.raises(SourceUnavailableError, match="cannot be reached") as raised:
            rows_of(url)
    assert url in raised.value.what


def test_a_server_that_says_nothing_is_given_up():
    with closing(socket.create_server(("127.0.0.1", 0))) as silent, httpx.Client(timeout=0.05) as client:
        downloads = Downloads(client, lambda _: None, Limits(wait=0.05))
        with pytest.raises(SourceUnavailableError, match=r"does not answer within 0.05 s, 5 times"):
            downloads.get(f"http://127.0.0.1:{silent.getsockname()[1]}/", "source 'btc'")


def test_an_answer_that_trickles_is_given_up():
    ticks = itertools.count(step=50)
    with site(lambda _: Reply(pieces=itertools.repeat(b"x"), length=-1)) as running, httpx.Client() as client:
        downloads = Downloads(client, lambda _: None, Limits(), lambda: next(ticks))
        with pytest.raises(SourceUnavailableError, match=r"takes longer than 120 s, 5 times"):
            downloads.get(running.url, "source 'btc'")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(pieces=itertools.repeat(b"x" * 1000), length=-1),
        Reply(length=10**6),
        Reply(gzip.compress(bytes(10**6), mtime=0)),
        Reply(gzip.compress(bytes(10**6), mtime=0), headers={"Content-Encoding": "gzip"}),
    ],
    ids=["endless", "declared", "a packed file", "a packed answer"],
)
def test_an_answer_without_end_is_refused(reply):
    with site(lambda _: reply) as running, httpx.Client() as client:
        downloads = Downloads(client, lambda _: None, Limits(size=10**5))
        with pytest.raises(DataError, match="larger than 0 MiB, or has no end"):
            downloads.get(running.url, "source 'btc'")
    assert len(running.asked) == 1


# Answers that are wrong


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"<html>why</html>", 403), "the server answers 403 Forbidden: it refuses access"),
        (Reply(status=401), "401 Unauthorized: it refuses access"),
        (Reply(status=404), "404 Not Found: there is no such document"),
        (Reply(status=400), "400 Bad Request"),
        (Reply(status=204), "204 No Content"),
        (Reply(status=304), "304 Not Modified"),
        (Reply(status=299), "299 unknown"),
        (Reply(b"x", headers={"Content-Encoding": "br"}), "packed by 'br'"),
        (Reply(b""), "the file is empty"),
        (Reply(b" \n<!DOCTYPE html><title>Log in</title>"), "an HTML page in place of CSV"),
        (Reply(PRICES), "JSON in place of CSV"),
        (Reply(gzip.compress(TEXT.encode(), mtime=0)[:-9]), "gzip file is cut off"),
        (Reply(TEXT.encode()[:-5]), "the last line has 1 of 3 cells, so the file is cut off"),
        (Reply(TEXT.replace("Close", "Schluß").encode("latin-1")), "line 1: the file is no UTF-8 text"),
    ],
)
def test_a_wrong_answer_in_place_of_csv_is_told_at_once(reply, words):
    asked_once = []
    message = refusal(lambda one: asked_once.append(one) or reply)
    assert words in message
    assert "/prices" in message
    assert len(asked_once) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><body>Sign in</body></html>", "an HTML page in place of JSON"),
        (PRICES[:-20], "no JSON, or is cut off (line 1, column "),
        (b"", "no JSON, or is cut off"),
        (TEXT.encode(), "no JSON"),
        pytest.param(b"[" * 200_000, "nested too deeply", id="nested"),
        ('{"data": "Schluß"}'.encode("latin-1"), "byte 16 is no UTF-8 text"),
        (b'{"error": ["EQuery:Unknown asset pair"]}', "nothing at '/data/rows'; it has 'error'"),
        (b"[1]", "nothing at '/data/rows'; it is a list"),
        (b'{"data": {"rows": {"X": 1}}}', "at '/data/rows/X' stands a text or number, no list of rows"),
        (b'{"data": {"rows": 7}}', "there are no rows at '/data/rows'; it is a text or number"),
        (b'{"data": {"rows": [7]}}', "row 1: a text or number stands where a row should be"),
        (b'{"data": {"rows": [[1, 2], [1]]}}', "row 2: it has 1 cells, and row 1 has 2"),
        (b'{"data": {"rows": [[1, 2], {"a": 1}]}}', "row 2: it is an object, row 1 is not"),
        (b'{"data": {"rows": [{"a": "\\ud800"}]}}', "half a character"),
    ],
)
def test_a_wrong_answer_in_place_of_json_is_told_at_once(content, words):
    assert words in refusal(served(content), **ROWS)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ('"=1+1"', "row 2, column 'Close': '=1+1' is no number"),
        ('"=HYPERLINK(\\"http://x\\")"', "'=HYPERLINK("),
        ('{"a": 1}', "is no number"),
        ("true", "'true' is no number"),
        ("1e999", "is infinite"),
        ("9" * 5000, "is infinite"),
        ('"' + "x" * 5_000_000 + '"', "is no number"),
    ],
    ids=["formula", "formula with quotes", "object", "true", "infinite", "five thousand digits", "huge"],
)
def test_a_cell_that_is_no_number_is_named_with_its_place(cell, words):
    body = f'{{"data": {{"rows": [{{"Date": "2020-03-01", "Close": 1}}, {{"Date": "2020-03-02", "Close": {cell}}}]}}}}'
    with site(served(body.encode())) as running, pytest.raises(DataError) as raised:
        rows_of(f"{running.url}/a", **ROWS, columns={"Close": "Close"})
    assert words in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_formula_in_csv_is_named_with_its_line():
    with (
        site(served(TEXT.replace("4", "=1+1").encode())) as running,
        pytest.raises(DataError, match=r"/a.csv, line 3, column 'Close': '=1\+1' is no number"),
    ):
        rows_of(f"{running.url}/a.csv", columns={"Close": "Close"})


def test_nothing_but_no_rows_is_told():
    with (
        site(served(b'{"data": {"rows": []}}')) as running,
        pytest.raises(DataError, match="source 'btc': it gave no rows"),
    ):
        rows_of(f"{running.url}/a", **ROWS)


def test_a_column_that_is_gone_is_named_with_what_is_there():
    with (
        site(served(PRICES.replace(b"Date", b"date"))) as running,
        pytest.raises(DataError, match="no column 'Date'; did you mean 'date'"),
    ):
        rows_of(f"{running.url}/a", **ROWS)


def test_json_that_would_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("presage.sources.documents._LARGEST", len(PRICES) - 1)
    assert "JSON of more than 0 MiB" in refusal(served(PRICES), **ROWS)


# Pages


def paged(*bodies: str) -> Callable[[Asked], Reply]:
    """Answer /0, /1 and so on; in the bodies HOST stands for the server."""
    return lambda one: Reply(bodies[int(one.path[1:])].replace("HOST", one.headers["host"]).encode())


def page(day: int, following: str | None, column: str = "Close") -> str:
    return json.dumps({"data": [{"Date": f"2020-03-0{day}", column: day}], "next": following})


PAGES = {"records": "/data", "next": "/next", "path": "/0"}


@pytest.mark.parametrize("following", ["http://HOST/1", "/1", "1"])
def test_the_next_page_may_be_named_whole_or_in_part(following):
    with site(paged(page(1, following), page(2, None))) as running:
        rows = rows_of(f"{running.url}/0", records="/data", next="/next").rows
    assert rows["Close"].to_list() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("bodies", "words"),
    [
        ((page(1, "/1"), page(2, "/0")), "page 2: the next page is one that was read already"),
        ((page(1, "/0"),), "the next page is one that was read already"),
        ((page(1, "http://elsewhere.example/1"),), "the next page leads to another host or scheme"),
        ((page(1, "https://HOST/1"),), "the next page leads to another host or scheme"),
        ((page(1, "http://HOST.elsewhere.example/"),), "leads to"),
        ((page(1, "//elsewhere.example/"),), "leads to another host or scheme"),
        ((page(1, "file:///etc/passwd"),), "leads to another host or scheme"),
        ((page(1, "http://a:b:c/"),), "leads to what is no address"),
        ((page(1, "/1").replace('"/1"', "7.5e3"),), "404"),
        ((page(1, "/1").replace('"/1"', "{}"), page(2, None)), None),
        ((page(1, "/1").replace('"/1"', '{"a": 1}'),), "the next page's address is no text"),
        ((page(1, "/1"), page(2, None, "Last")), "differ in column 'Close'"),
    ],
)
def test_pages_that_lead_astray_are_refused(bodies, words):
    def answer(one: Asked) -> Reply:
        return (
            paged(*bodies)(one) if one.path[1:].isdecimal() and int(one.path[1:]) < len(bodies) else Reply(status=404)
        )

    if words is None:
        with site(answer) as running:
            assert rows_of(f"{running.url}/0", records="/data", next="/next").rows.height == 1
    else:
        assert words in refusal(answer, **PAGES)


def test_pages_without_end_are_refused(monkeypatch):
    monkeypatch.setattr("presage.sources.http._MOST_PAGES", 5)
    endless = lambda one: Reply(page(1, f"/{int(one.path[1:]) + 1}").encode())  # noqa: E731
    assert "more than 5 pages" in refusal(endless, **PAGES)


def test_a_document_in_pages_is_always_got_again():
    answer = lambda one: Reply(paged(page(1, "/1"), page(2, None))(one).content, headers={"ETag": '"1"'})  # noqa: E731
    with site(answer) as running:
        (table,) = read(declare(f"{running.url}/0", records="/data", next="/next"), asked(HERE))
    assert table.bookmark == ""


# Redirects


def redirect(target: str) -> Callable[[Asked], Reply]:
    def answer(one: Asked) -> Reply:
        if one.path == "/there":
            return Reply(TEXT.encode())
        return Reply(status=302, headers={"Location": target.replace("HOST", one.headers["host"])})

    return answer


@pytest.mark.parametrize("target", ["/there", "http://HOST/there"])
def test_a_redirect_within_the_host_is_followed(target):
    with site(redirect(target)) as running:
        assert rows_of(f"{running.url}/a.csv").rows.height == 3


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://elsewhere.example/there", "the redirect leads to another host or scheme"),
        ("https://HOST/there", "the redirect leads to another host or scheme"),
        ("http://127.0.0.1:9/there", "leads to another host or scheme"),
        ("ftp://HOST/", "leads to another host or scheme"),
        ("/again", "more than 5 redirects"),
    ],
)
def test_a_redirect_that_leads_astray_is_refused(target, words):
    assert words in refusal(redirect(target))


# Secrets


def test_keys_that_the_address_does_not_name_are_sent_as_headers():
    with site(served(TEXT.encode())) as running:
        rows_of(
            f"{running.url}/a.csv?key={{secret:api_key}}",
            secrets(API_KEY=f"{SECRET}\n", **{"X-Account": "7\n"}),
            secretRef={"name": "vendor"},
        )
    assert running.asked[0].query == {"key": SECRET}
    assert running.asked[0].headers["x-account"] == "7"
    assert "api_key" not in running.asked[0].headers


def test_a_header_with_hyphens_comes_from_a_variable_that_a_shell_can_set():
    variables = {"VENDOR_APCA_API_KEY_ID": "7", "VENDOR_apca_api_secret": "8", "VENDOR_Token": "9"}
    given = {"secret": partial(environment_secret, environment=variables)}
    with site(served(TEXT.encode())) as running:
        rows_of(f"{running.url}/a.csv?key={{secret:token}}", given, secretRef={"name": "vendor"})
    (one,) = running.asked
    assert (one.headers["apca-api-key-id"], one.headers["apca-api-secret"]) == ("7", "8")
    assert one.query == {"key": "9"}
    assert "token" not in one.headers


def test_a_header_of_the_secret_takes_the_place_of_our_own():
    with site(served(TEXT.encode())) as running:
        rows_of(f"{running.url}/a.csv", secrets(USER_AGENT="me me@a.example"), secretRef={"name": "vendor"})
    assert running.asked[0].headers["user-agent"] == "me me@a.example"


@pytest.mark.parametrize("key", ["X-CMC_PRO_API_KEY", "api_key"])
def test_a_header_that_the_job_names_is_sent_under_that_very_name(key):
    given = {"secret": partial(environment_secret, environment={f"VENDOR_{key.upper().replace('-', '_')}": "7"})}
    with site(served(TEXT.encode())) as running:
        rows_of(f"{running.url}/a.csv", given, secretRef={"name": "vendor", "key": key})
    assert running.asked[0].headers[key.lower()] == "7"


def test_a_key_in_the_address_is_no_header_however_it_is_written():
    with site(served(TEXT.encode())) as running:
        rows_of(f"{running.url}/a.csv?k={{secret:api-key}}", secrets(API_KEY="7"), secretRef={"name": "vendor"})
    (one,) = running.asked
    assert one.query == {"k": "7"}
    assert not {"api-key", "api_key"} & set(one.headers)


def faults() -> dict[str, Callable[[Asked], Reply]]:
    echo = f'{{"error": "{SECRET}"}}'.encode()
    return {
        "refused": lambda _: Reply(echo, 403),
        "bad request": lambda _: Reply(echo, 400),
        "faulty": lambda _: Reply(echo, 500),
        "cut off": lambda _: Reply(b"{", length=99),
        "html": lambda _: Reply(f"<html>{SECRET}".encode()),
        "no json": lambda _: Reply(SECRET.encode()),
        "no rows": lambda _: Reply(b'{"data": 1}'),
        "astray": lambda one: Reply(status=302, headers={"Location": f"http://elsewhere.example/?key={SECRET}"}),
        "repeats": lambda one: Reply(f'{{"rows": [], "next": "/?key={one.query["key"]}&again=1"}}'.encode()),
        "bad address": lambda one: Reply(b'{"rows": [], "next": "http://[' + SECRET.encode() + b'"}'),
    }


@pytest.mark.parametrize("fault", sorted(faults()))
def test_no_error_and_no_log_tells_a_secret(fault, caplog):
    caplog.set_level(logging.DEBUG)
    with site(faults()[fault]) as running, pytest.raises(PresageError) as raised:
        rows_of(
            f"{running.url}/?key={{secret:key}}",
            secrets(key=SECRET, **{"X-Token": "t0ken"}),
            records="/rows",
            next="/next",
            secretRef={"name": "vendor"},
        )
    assert running.asked[0].query["key"] == SECRET
    chain: BaseException | None = raised.value
    told = [caplog.text]
    while chain is not None:
        told.append(repr(chain))
        chain = chain.__cause__ or chain.__context__
    for secret in (SECRET, "s3cr3t", "t0ken"):
        assert secret not in "\n".join(told)
    assert "?key={secret:key}" in str(raised.value)


def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"source 'btc'.*package httpx.*presage\[http\]"):
        rows_of("http://127.0.0.1:9/")


def test_no_bookmark_tells_a_secret(candles):
    with broker_double(candles) as running:
        for table in read(candle_source(running), asked(HERE, end=YEAR_END, **WITH_KEY)):
            assert broker.KEY not in table.bookmark + str(table.parts)


def test_a_wrong_key_is_refused_by_the_doubles_without_telling_it(candles):
    with fred_double({"DGS10": []}) as running:
        url = f"{running.url}{fred.PATH}?series_id=DGS10&api_key={{secret:api_key}}"
        with pytest.raises(DataError, match="400 Bad Request") as raised:
            rows_of(url, secrets(api_key=SECRET), records="/observations", secretRef={"name": "fred"})
    assert "s3cr3t" not in str(raised.value)
    with broker_double(candles) as running, pytest.raises(DataError, match="403 Forbidden"):
        list(read(candle_source(running), asked(HERE, end=YEAR_END, **secrets(**{"X-Api-Key": "wrong"}))))


@pytest.mark.parametrize("proxy", ["gopher://me:s3cr3t@127.0.0.1:9", "http://me:s3cr3t@a:b"])
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(JobError, match="source 'btc': the environment's proxy cannot be used") as raised:
        rows_of("http://127.0.0.1:9/")
    assert "s3cr3t" not in repr(raised.value) + repr(raised.value.__cause__)


def test_a_header_that_cannot_be_sent_is_a_fault_of_the_secret():
    with pytest.raises(JobError, match="secret 'vendor': its key 'X-Token' cannot be sent as a header") as raised:
        rows_of("http://127.0.0.1:9/", secrets(**{"X-Token": "s3cr3t\nX: y"}), secretRef={"name": "vendor"})
    assert "s3cr3t" not in repr(raised.value)


# From the command


def test_the_command_reads_a_job_s_documents_and_tells_a_fault_without_the_secret(shared_data, tmp_path):
    treasury = [(row["date"], row["value"]) for row in csv_rows(shared_data / "fred_macro" / "DGS10_to2023.csv.gz")]
    with fred_double({"DGS10": treasury}) as rates:
        words = (
            *("run", EXAMPLES / "btc-daily.yaml", "--workdir", tmp_path),
            *("--source", f"btc={shared_data / 'kraken_daily' / 'Kraken_BTCUSD_d.csv'}"),
            *("--source", f"chain={shared_data / 'coinmetrics_community' / 'coinmetrics_btc.csv.gz'}"),
            *("--source", f"treasury={rates.url}{fred.PATH}?series_id=DGS11&api_key={{secret:api_key}}"),
        )
        assert "secret 'fred'" in presage(*words, code=2).err
        told = presage(*words, code=5, FRED_API_KEY=fred.KEY).err
        assert "source 'treasury'" in told
        assert "400 Bad Request" in told
        assert fred.KEY not in told
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("name", SEEDS)
def test_the_sources_of_the_seeds_give_from_doubles_what_they_give_from_files(name, shared_data):
    job = load_job(EXAMPLES / f"{name}.yaml")
    request = asked(shared_data, parse_frequency(job.spec.frequency), **secrets(api_key=fred.KEY))
    for source in job.spec.sources:
        file = shared_data / SEEDS[name][source.name]
        assert source.http is not None
        asked_for = urlsplit(source.http.url)
        if source.http.records is None:
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            service = documents({asked_for.path: content})
        else:
            series = dict(parse_qsl(asked_for.query))["series_id"]
            service = fred_double({series: [(row["date"], row["value"]) for row in csv_rows(file)]})
        with service as running:
            url = source.http.url.replace(f"https://{asked_for.netloc}", running.url)
            live = read_rows(override(source, url, cwd=HERE), request)
        assert_frame_equal(live.rows, read_rows(override(source, str(file), cwd=HERE), request).rows)
