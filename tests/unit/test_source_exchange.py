"""Candles of an exchange: whole, once and in order, however it pages; and what it cannot give, said plainly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event

import ccxt
import polars as pl
import pytest
from doubles.exchange import DAY, MINUTE, Answer, ExchangeDouble, Row, exchange_double
from polars.testing import assert_frame_equal
from source_case import asked

from presage.errors import DataError, JobError, PresageError, SourceUnavailableError
from presage.sources.candles import Timeframe, to_milliseconds
from presage.sources.contract import Request, Table
from presage.sources.exchange import read
from presage.sources.rows import read_rows
from presage.spec.base import Frequency, parse_frequency
from presage.spec.sources import Source

START = to_milliseconds(datetime(2017, 1, 1, tzinfo=UTC))
COUNT = 1000
END = datetime.fromtimestamp((START + COUNT * MINUTE) / 1000, UTC)
KEYS = {"CLUB_apiKey": "key-1234", "CLUB_secret": "secret-5678"}


def row(start: int) -> Row:
    """A candle whose prices follow from its time; as Bitfinex has it, the close comes before high and low."""
    minute = start // MINUTE
    price = 1000.0 + minute % 97
    return [start, price, price + 1, price + 2, price - 1, 0.5 + minute % 7]


def rows(count: int = COUNT, step: int = MINUTE, start: int = START) -> list[Row]:
    return [row(start + place * step) for place in range(count)]


@pytest.fixture
def exchange() -> Iterator[ExchangeDouble]:
    """A double with a thousand one-minute candles of BTC and half as many, from later on, of ETH."""
    later = START + COUNT // 2 * MINUTE
    with exchange_double({("BTCUSD", "1m"): rows(), ("ETHUSD", "1m"): rows(COUNT // 2, start=later)}) as double:
        double.page = 150
        yield double


def declare(exchange: ExchangeDouble, *symbols: str, frequency: str | None = "1m", **place: object) -> Source:
    told = {"name": "bitfinex", "symbols": symbols or ("BTC/USD",), "uri": exchange.url, "since": "2017-01-01"} | place
    return Source.model_validate(
        {"name": "btc", "availability": {"lag": "0s"}, "exchange": told, "frequency": frequency}
    )


def request(**others: object) -> Request:
    return asked(Path(), Frequency(1, "d"), **{"end": END} | others)


def fetched(source: Source, **others: object) -> list[Table]:
    return list(read(source, request(**others)))


def starts(tables: list[Table], symbol: str = "BTC/USD") -> list[int]:
    data = pl.concat([table.data for table in tables])
    return (data.filter(pl.col("symbol") == symbol)["time"].dt.epoch("ms")).to_list()


def refusal(source: Source, kind: type[PresageError] = DataError, **others: object) -> str:
    with pytest.raises(kind) as raised:
        fetched(source, **others)
    assert raised.value.what.startswith("source 'btc'")
    assert raised.value.remedy
    return str(raised.value)


def expected(first: int = 0, last: int = COUNT) -> list[int]:
    return [START + place * MINUTE for place in range(first, last)]


def test_the_official_client_accepts_the_double(exchange):
    client = ccxt.bitfinex({"enableRateLimit": False})
    client.urls["api"] = dict.fromkeys(client.urls["api"], exchange.url)
    assert sorted(client.load_markets()) == ["BTC/USD", "ETH/USD"]
    candles = client.fetch_ohlcv("BTC/USD", "1m", START, 3)
    assert candles == [[start, open_, high, low, close, volume] for start, open_, close, high, low, volume in rows(3)]


def test_all_pages_are_fetched_once_and_in_order(exchange):
    tables = fetched(declare(exchange))
    assert starts(tables) == expected()
    assert [asked.start for asked in exchange.asked] == [START + place * MINUTE for place in range(0, 1000, 150)]


def test_the_columns_are_those_of_a_candle(exchange):
    (table,) = fetched(declare(exchange))
    assert table.data.columns == ["time", "symbol", "open", "high", "low", "close", "volume"]
    assert table.data.dtypes == [pl.Datetime("us", "UTC"), pl.String, *[pl.Float64] * 5]
    assert (table.time, table.series) == ("time", "symbol")
    _, open_, close, high, low, volume = row(START)
    assert table.data.row(0)[2:] == (open_, high, low, close, volume)
    assert table.where(0) == "bitfinex's candles of BTC/USD from 2017-01-01T00:00Z on, row 1"
    assert table.where(151) == "bitfinex's candles of BTC/USD from 2017-01-01T02:30Z on, row 2"


def test_symbols_are_a_panel_each_from_its_own_first_candle(exchange):
    read = read_rows(declare(exchange, "BTC/USD", "ETH/USD"), request())
    counts = dict(read.rows.group_by("series").len().rows())
    assert counts == {"BTC/USD": 1000, "ETH/USD": 500}


def test_many_small_tables_hold_what_one_large_one_does(exchange, monkeypatch):
    source = declare(exchange, "BTC/USD", "ETH/USD")
    whole = read_rows(source, request())
    monkeypatch.setattr("presage.sources.exchange._ROWS", 1)
    exchange.page = 37
    tables = fetched(source)
    assert len(tables) > 30
    firsts = [table.data["time"].min() for table in tables]
    assert all(later >= earlier - timedelta(minutes=37) for earlier, later in pairwise(firsts))
    assert_frame_equal(read_rows(source, request()).rows, whole.rows)


def test_a_read_goes_on_behind_each_table_that_was_kept(exchange, monkeypatch):
    monkeypatch.setattr("presage.sources.exchange._ROWS", 200)
    source = declare(exchange, "BTC/USD", "ETH/USD")
    whole = pl.concat([table.data for table in fetched(source)]).sort("symbol", "time")
    tables = fetched(source)
    assert len(tables) > 4
    for kept in (0, 2, len(tables) - 2):
        rest = fetched(source, bookmark=tables[kept].bookmark)
        data = pl.concat([table.data for table in [*tables[: kept + 1], *rest]])
        assert_frame_equal(data.sort("symbol", "time"), whole)


def test_nothing_new_gives_no_table(exchange):
    source = declare(exchange, "BTC/USD", "ETH/USD")
    bookmark = fetched(source)[-1].bookmark
    assert json.loads(bookmark) == dict.fromkeys(("BTC/USD", "ETH/USD"), "2017-01-01T16:39:00+00:00")
    assert fetched(source, bookmark=bookmark) == []
    exchange.rows["BTCUSD", "1m"].append(row(START + COUNT * MINUTE))
    assert fetched(source, bookmark=bookmark) == [], "it closes after the moment of the run"
    (table,) = fetched(source, bookmark=bookmark, end=END + timedelta(minutes=1))
    assert starts([table]) == expected(COUNT, COUNT + 1)
    assert json.loads(table.bookmark)["ETH/USD"] == "2017-01-01T16:39:00+00:00"


def test_a_span_is_fetched_whatever_the_bookmark_says(exchange):
    bookmark = json.dumps({"BTC/USD": "2017-01-01T16:39:00+00:00"})
    start, end = (datetime(2017, 1, 1, hour, tzinfo=UTC) for hour in (2, 7))
    assert starts(fetched(declare(exchange), bookmark=bookmark, start=start, end=end)) == expected(120, 420)


@pytest.mark.parametrize(
    "bookmark", ["yesterday", "[1]", '{"BTC/USD": 7}', '{"BTC/USD": "soon"}'], ids=["text", "list", "number", "word"]
)
def test_a_bookmark_of_another_kind_is_refused(exchange, bookmark):
    assert "bookmark" in refusal(declare(exchange), bookmark=bookmark)


def test_the_candle_that_is_still_open_is_never_given(exchange):
    assert starts(fetched(declare(exchange), end=END - timedelta(seconds=1))) == expected(0, COUNT - 1)
    assert starts(fetched(declare(exchange), end=END - timedelta(minutes=400))) == expected(0, COUNT - 400)


def test_a_candle_counts_as_closed_by_the_clock_of_the_exchange_too(exchange):
    exchange.now = START + 499 * MINUTE
    exchange.clock = (exchange.now + 30_000) / 1000
    assert starts(fetched(declare(exchange))) == expected(0, 499), "ours is hours ahead; its newest candle is open"


def test_an_exchange_without_a_clock_is_judged_by_ours(exchange):
    exchange.clock = math.nan
    assert starts(fetched(declare(exchange))) == expected()


def test_candles_later_than_the_clock_of_the_exchange_are_refused(exchange):
    exchange.clock = (START + 20 * MINUTE) / 1000
    told = refusal(declare(exchange), SourceUnavailableError)
    assert "its clock says 2017-01-01T00:20Z" in told
    assert "starts at 2017-01-01T02:29Z" in told


def test_candles_out_of_order_or_twice_in_a_page_give_the_same_rows(exchange):
    source = declare(exchange)
    whole = read_rows(source, request())
    exchange.faults.extend([lambda page: Answer(body=json.dumps([*page[::-1], page[3]]).encode())] * 3)
    read = read_rows(source, request())
    assert_frame_equal(read.rows, whole.rows)
    assert read.duplicates == 3


def test_a_page_that_comes_again_in_place_of_the_next_is_refused(exchange, monkeypatch):
    monkeypatch.setattr(ccxt.bitfinex, "feature_value", lambda *_: 150)
    again = Answer(body=json.dumps(rows(150)).encode())
    exchange.faults.extend([None, again, again])
    told = refusal(declare(exchange))
    assert "from 2017-01-01T02:30Z on, it gives those up to 2017-01-01T02:29Z again, though it has some from" in told


def test_a_page_that_comes_again_by_mistake_loses_nothing(exchange):
    exchange.faults.extend([None, Answer(body=json.dumps(rows(150)).encode())])
    assert starts(fetched(declare(exchange))) == expected()


def test_an_exchange_that_gives_the_same_page_for_ever_ends_the_list(exchange):
    exchange.deaf = True
    assert starts(fetched(declare(exchange))) == expected(0, 150)
    assert len(exchange.asked) < 10


def test_an_exchange_that_always_gives_its_newest_candles_ends_the_list(exchange):
    exchange.rows["BTCUSD", "1m"] = rows(100, start=START + 900 * MINUTE)
    exchange.deaf = True
    assert starts(fetched(declare(exchange))) == expected(900)


def test_an_exchange_that_goes_back_only_so_far_gives_what_it_has(exchange):
    exchange.newest = 300
    assert starts(fetched(declare(exchange))) == expected(700)


@pytest.mark.parametrize("since", ["2017-01-01", None], ids=["since", "all"])
def test_a_gap_longer_than_a_page_is_crossed(exchange, since, monkeypatch):
    monkeypatch.setattr(ccxt.bitfinex, "feature_value", lambda *_: 150)
    exchange.rows["BTCUSD", "1m"] = [*rows(100), *rows(300, start=START + 700 * MINUTE)]
    exchange.rows["BTCUSD", "1D"] = rows(1)
    exchange.spans = True
    assert starts(fetched(declare(exchange, since=since))) == expected(0, 100) + expected(700)


def test_the_first_candle_is_found_in_few_steps_where_the_exchange_answers_for_spans(exchange, monkeypatch):
    monkeypatch.setattr(ccxt.bitfinex, "feature_value", lambda *_: 150)
    later = START + 3 * DAY
    exchange.rows["BTCUSD", "1m"] = rows(300, start=later + 700 * MINUTE)
    exchange.rows["BTCUSD", "1D"] = rows(2, step=DAY, start=later)
    exchange.spans = True
    tables = fetched(declare(exchange, since=None), end=END + timedelta(days=3))
    assert starts(tables) == [later + place * MINUTE for place in range(700, 1000)]
    assert len(exchange.asked) < 90


def test_the_first_candle_of_a_market_of_today_is_found(exchange, monkeypatch):
    monkeypatch.setattr(ccxt.bitfinex, "feature_value", lambda *_: 150)
    exchange.rows["BTCUSD", "1m"] = rows(300, start=START + 700 * MINUTE)
    exchange.spans = True
    assert starts(fetched(declare(exchange, since=None))) == expected(700)


def test_an_answer_that_is_empty_by_mistake_loses_nothing(exchange):
    exchange.faults.extend([None, Answer(), None, None, Answer()])
    assert starts(fetched(declare(exchange))) == expected()


def test_a_market_that_stopped_ends_its_list_in_few_requests(exchange):
    assert starts(fetched(declare(exchange), end=END + timedelta(days=900))) == expected()
    assert len(exchange.asked) < 15


def test_an_answer_without_prices_is_a_period_without_trades(exchange):
    exchange.rows["BTCUSD", "1m"][5] = [START + 5 * MINUTE, None, None, None, None, 0]
    assert starts(fetched(declare(exchange))) == expected(0, 5) + expected(6)


@pytest.mark.parametrize(("count", "text"), [(60, "1h"), (1440, "1D")])
def test_the_timeframe_is_the_length_of_a_row(exchange, count, text):
    exchange.rows["BTCUSD", text] = rows(24, step=count * MINUTE)
    frequency = {"1h": "60m", "1D": None}[text]
    end = datetime(2017, 2, 1, tzinfo=UTC)
    assert len(starts(fetched(declare(exchange, frequency=frequency), end=end))) == 24
    assert {asked.timeframe for asked in exchange.asked} == {text}


def test_a_month_closes_when_the_calendar_says():
    month = Timeframe.parse("1mo")
    for begin, end in (("2024-01-01", "2024-02-01"), ("2024-02-01", "2024-03-01"), ("2023-12-01", "2024-01-01")):
        first, last = (to_milliseconds(datetime.fromisoformat(f"{day}T00:00+00:00")) for day in (begin, end))
        assert month.after(first) == last


@pytest.mark.parametrize("text", ["1m", "15m", "60m", "1h", "1d", "1w", "3mo"])
def test_every_frequency_is_a_timeframe(text):
    timeframe = Timeframe.parse(str(parse_frequency(text)))
    assert timeframe.milliseconds == parse_frequency(text).approximate.total_seconds() * 1000


def test_waits_are_those_of_the_rate_limit_and_go_through_the_request(exchange):
    waits = []
    fetched(declare(exchange), sleep=waits.append)
    assert len(waits) >= len(exchange.asked) - 1
    assert all(0 < wait < 10 for wait in waits)


@pytest.mark.parametrize(
    "fault",
    [
        Answer(429, b'["error",11010,"ratelimit: error"]', {"Retry-After": "7"}),
        Answer(418, b"{}"),
        Answer(500, b'["error",20051,"temporarily down"]'),
        Answer(500, b'{"message":"internal"}'),
        Answer(502, b"<html>bad gateway</html>"),
        Answer(503, b""),
        Answer(200, b"<html>maintenance</html>"),
        Answer(200, b"7"),
        Answer(200, b"[" * 100_000),
        Answer(200, b"[[1483228800000,1000.0"),
        Answer(200, b"[[1483228800000", length=5000),
        Answer(200, b'["error",11010,"ratelimit: error"'),
    ],
    ids=["429", "418", "500", "500 object", "502", "503", "page", "number", "deep", "half", "cut", "cut error"],
)
def test_a_fault_that_passes_costs_a_wait_and_one_that_stays_is_told(exchange, fault):
    waits = []
    exchange.faults.extend([None, fault, fault, None])
    source = declare(exchange)
    assert starts(fetched(source, sleep=waits.append)) == expected()
    if "Retry-After" in fault.headers:
        assert waits.count(7.0) == 2
    exchange.faults.extend([fault] * 100)
    exchange.asked.clear()
    told = refusal(source, SourceUnavailableError)
    assert "bitfinex does not answer" in told
    assert "5 times" in told
    assert len(exchange.asked) == 5
    exchange.faults.clear()


def test_an_exchange_that_asks_to_wait_too_long_is_not_waited_for(exchange):
    waits = []
    exchange.faults.append(Answer(429, b"[]", {"Retry-After": "3600"}))
    told = refusal(declare(exchange), SourceUnavailableError, sleep=waits.append)
    assert "3600" in told
    assert max(waits) < 60


@pytest.mark.parametrize("status", [401, 403, 404, 451])
def test_a_refusal_is_told_at_once(exchange, status):
    exchange.faults.extend([Answer(status, b"[]")] * 9)
    told = refusal(declare(exchange))
    assert f"status {status}" in told
    assert len(exchange.asked) == 1


def test_an_error_that_the_exchange_names_is_told_at_once(exchange):
    exchange.faults.extend([Answer(500, b'["error",10020,"symbol: invalid"]')] * 9)
    assert "symbol: invalid" in refusal(declare(exchange))
    assert len(exchange.asked) == 1


def test_an_exchange_that_is_down_is_told(exchange):
    source = declare(exchange, uri="http://127.0.0.1:9")
    assert "does not answer" in refusal(source, SourceUnavailableError)


def test_an_exchange_that_keeps_its_caller_waiting_is_told(exchange, monkeypatch):
    monkeypatch.setattr("presage.sources.ccxt_client._TIMEOUT_SECONDS", 0.1)
    release = Event()

    def hold(page: list[Row]) -> Answer:
        release.wait(60)
        return Answer()

    exchange.faults.extend([hold] * 5)
    told = refusal(declare(exchange), SourceUnavailableError)
    release.set()
    assert "does not answer" in told
    assert len(exchange.asked) == 5


def test_a_redirect_is_not_followed(exchange):
    with exchange_double({}) as other:
        exchange.faults.extend([Answer(302, b"", {"Location": f"{other.url}/v2/candles/trade:1m:tBTCUSD/hist"})] * 9)
        assert other.url.removeprefix("http://") in refusal(declare(exchange), SourceUnavailableError)
        assert other.asked == []


def test_an_endless_answer_is_cut_off(exchange, monkeypatch):
    monkeypatch.setattr("presage.sources.ccxt_answers._BYTES", 2**20)
    exchange.faults.extend([Answer(body=b"[" + b" " * 2**21 + b"]")] * 9)
    assert "longer than 1 MiB" in refusal(declare(exchange), SourceUnavailableError)


def test_an_answer_that_takes_too_long_is_cut_off(exchange):
    from presage.sources.ccxt_client import connect

    client = connect("bitfinex", "bitfinex", sleep=lambda _: None, uri=exchange.url)
    client.require_symbols(["BTC/USD"])
    seconds = iter(range(0, 10**6, 61))
    client.answers.seconds = lambda: next(seconds)
    with pytest.raises(SourceUnavailableError, match="longer than 60 seconds"):
        client.candles("BTC/USD", "1m", START)
    client.close()


@pytest.mark.parametrize(
    "body",
    [
        b'{"candles": []}',
        b"[[]]",
        b"[7]",
        b"[null]",
        b'[["soon",1,1,1,1,1]]',
        b'[{"t":1}]',
        b"[[[]]]",
        b'["word"]',
    ],
    ids=["object", "empty row", "number in list", "null", "word as time", "objects", "nested", "text"],
)
def test_an_answer_of_another_shape_is_no_candles(exchange, body):
    exchange.faults.extend([Answer(body=body)] * 9)
    refusal(declare(exchange))
    assert len(exchange.asked) == 1


@pytest.mark.parametrize(
    "cell", ["=1+1", "1,5", "", "x" * 100_000, None], ids=["formula", "comma", "empty", "huge", "null"]
)
def test_a_price_that_is_no_number_is_named(exchange, cell):
    exchange.rows["BTCUSD", "1m"][7][2] = cell
    told = refusal(declare(exchange))
    assert "BTC/USD at 2017-01-01T00:07Z" in told
    assert "'close'" in told
    assert len(told) < 500


def test_a_price_that_cannot_be_true_is_named_with_its_row(exchange):
    exchange.rows["BTCUSD", "1m"][157][3] = 1e300
    with pytest.raises(DataError) as raised:
        read_rows(declare(exchange), request())
    assert "bitfinex's candles of BTC/USD from 2017-01-01T02:30Z on, row 8" in str(raised.value)
    assert "'high'" in str(raised.value)


def test_an_unknown_exchange_is_told_with_the_nearest(exchange):
    told = refusal(declare(exchange, name="bitfinx"))
    assert "'bitfinx'; did you mean 'bitfinex'" in told


def test_an_unknown_symbol_is_told_with_the_nearest(exchange):
    assert "'BTC/USDT'; did you mean 'BTC/USD'" in refusal(declare(exchange, "ETH/USD", "BTC/USDT"))
    assert "no market 'btc/usd'; did you mean 'BTC/USD'" in refusal(declare(exchange, "btc/usd"))


def test_markets_that_cannot_be_read_are_told(exchange):
    exchange.conf = Answer(503)
    assert "status 503" in refusal(declare(exchange), SourceUnavailableError)
    exchange.conf = Answer(200, b'[["BTCUSD"]]')
    refusal(declare(exchange))


def test_a_timeframe_that_is_not_offered_is_told_with_those_that_are(exchange):
    told = refusal(declare(exchange, frequency="7m"))
    assert "no candles of 7m; it has those of 1m, 5m," in told


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("http://api.example.org", "no TLS"),
        ("http://127.0.0.1.example.org", "no TLS"),
        ("http://10.0.0.7", "no TLS"),
        ("ftp://api.example.org", "no address"),
        ("api.example.org", "no address"),
        ("https://api.example.org/?key=1", "no address"),
        ("https://key:value@api.example.org", "credentials"),
    ],
)
def test_an_address_is_https_or_of_this_machine(exchange, uri, word):
    told = refusal(declare(exchange, uri=uri), JobError)
    assert word in told
    assert "value" not in told


def test_keys_are_never_shown(exchange, monkeypatch, caplog):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    source = declare(exchange, secret_ref={"name": "club"})
    exchange.faults.extend([None, Answer(500, f'["error",1,"{" ".join(KEYS.values())}"]'.encode())])
    with caplog.at_level("DEBUG"):
        assert starts(fetched(source)) == expected()
        exchange.faults.extend([Answer(500, f'["error",1,"{" ".join(KEYS.values())}"]'.encode())] * 9)
        told = refusal(source, SourceUnavailableError)
    assert not any(value in told + caplog.text for value in KEYS.values())


def test_a_key_that_the_secret_lacks_is_named(exchange, monkeypatch):
    monkeypatch.setenv("CLUB_apiKey", "key-1234")
    with pytest.raises(JobError, match="'secret'"):
        fetched(declare(exchange, secret_ref={"name": "club"}))


def test_a_read_that_is_broken_off_leaves_what_was_given_and_a_way_to_go_on(exchange, monkeypatch):
    monkeypatch.setattr("presage.sources.exchange._ROWS", 300)
    exchange.faults.extend([None] * 5 + [Answer(503)] * 5)
    source = declare(exchange)
    stream = read(source, request())
    kept = [next(stream), next(stream)]
    with pytest.raises(SourceUnavailableError):
        next(stream)
    rest = fetched(source, bookmark=kept[-1].bookmark)
    assert starts([*kept, *rest]) == expected()


def test_days_of_the_double_are_days_of_the_request(exchange):
    exchange.rows["BTCUSD", "1D"] = rows(10, step=DAY)
    source = declare(exchange, frequency=None)
    end = datetime(2017, 1, 6, 12, tzinfo=UTC)
    assert len(starts(fetched(source, end=end))) == 5, "the day of the run is still open"
