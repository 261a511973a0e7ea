"""The price exporter: what a scrape is given of an exchange that answers, fails, and falls silent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from doubles.exchange import Answer, ExchangeDouble, exchange_double
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from presage.errors import DataError
from presage.sources.ccxt_client import Ticker, connect
from presage_serving.price_exporter import Poller, PriceCollector, next_wait

MOMENT = 1_700_000_000.0
INTERVAL = 15.0
BTC = ("BTC/USD",)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = MOMENT

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exchange() -> Iterator[ExchangeDouble]:
    """A double with two markets."""
    with exchange_double({("BTCUSD", "1m"): [], ("ETHUSD", "1m"): []}) as double:
        double.tickers = {"BTCUSD": (42_000.5, 1234.25), "ETHUSD": (2_500.0, 99.0)}
        double.clock = MOMENT - 2
        yield double


@pytest.fixture
def made(exchange: ExchangeDouble, clock: Clock) -> Iterator[Callable[..., Poller]]:
    """Makes pollers of the double by ccxt's own client, without waits between attempts."""
    client = connect("bitfinex", "bitfinex", sleep=lambda _: None, uri=exchange.url)

    def make(*symbols: str) -> Poller:
        return Poller(client, symbols, PriceCollector("bitfinex", INTERVAL, clock), INTERVAL)

    yield make
    client.close()


def samples(poller: Poller) -> dict[str, float]:
    """What Prometheus' official parser reads of a scrape, by name and the label that varies."""
    families = text_string_to_metric_families(generate_latest(poller.prices.registry).decode())
    return {
        f"{sample.name}/{sample.labels.get('symbol') or sample.labels['reason']}": sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_a_scrape_is_given_price_time_and_volume_of_each_market(made: Callable[..., Poller]) -> None:
    poller = made("BTC/USD", "ETH/USD")
    assert poller.round() == INTERVAL
    assert samples(poller) == {
        "presage_market_price/BTC/USD": 42_000.5,
        "presage_market_price/ETH/USD": 2_500.0,
        # Bitfinex' tickers tell no time; the clock of its answers does.
        "presage_market_price_timestamp_seconds/BTC/USD": MOMENT - 2,
        "presage_market_price_timestamp_seconds/ETH/USD": MOMENT - 2,
        "presage_market_volume/BTC/USD": 1234.25,
        "presage_market_volume/ETH/USD": 99.0,
        "presage_market_errors_total/refused": 0,
        "presage_market_errors_total/unavailable": 0,
    }


def test_labels_tell_the_exchange(made: Callable[..., Poller]) -> None:
    poller = made(*BTC)
    poller.round()
    text = generate_latest(poller.prices.registry).decode()
    assert 'presage_market_price{exchange="bitfinex",symbol="BTC/USD"} 42000.5' in text


def test_a_price_that_is_not_told_anew_disappears(
    made: Callable[..., Poller], exchange: ExchangeDouble, clock: Clock
) -> None:
    poller = made(*BTC)
    poller.round()
    exchange.faults.extend([Answer(503)] * 5)
    clock.now += INTERVAL
    poller.round()
    shown = samples(poller)
    assert shown["presage_market_price/BTC/USD"] == 42_000.5
    assert shown["presage_market_errors_total/unavailable"] == 1
    clock.now = MOMENT + 4 * INTERVAL
    assert "presage_market_price/BTC/USD" in samples(poller)
    clock.now += 1
    assert [name for name in samples(poller) if "errors" not in name] == []
    poller.round()
    assert samples(poller)["presage_market_price/BTC/USD"] == 42_000.5


def test_an_answer_that_is_no_ticker_is_counted_as_refused(
    made: Callable[..., Poller], exchange: ExchangeDouble
) -> None:
    poller = made(*BTC)
    exchange.faults.append(Answer(body=b"[1, 2, 3, 4, 5, 6, null, 8, 9, 10]"))
    assert poller.round() == 2 * INTERVAL
    shown = samples(poller)
    assert shown["presage_market_errors_total/refused"] == 1
    assert "presage_market_price/BTC/USD" not in shown


def test_one_market_without_an_answer_does_not_keep_the_other_from_its_own(
    made: Callable[..., Poller], exchange: ExchangeDouble
) -> None:
    poller = made("BTC/USD", "ETH/USD")
    exchange.faults.extend([Answer(503)] * 5)
    assert poller.round() == INTERVAL
    assert samples(poller)["presage_market_price/ETH/USD"] == 2_500.0


def test_an_exchange_that_is_down_at_the_start_is_asked_again(
    made: Callable[..., Poller], exchange: ExchangeDouble
) -> None:
    poller = made(*BTC)
    exchange.conf = Answer(503)
    assert [poller.round(), poller.round()] == [2 * INTERVAL, 4 * INTERVAL]
    exchange.conf = None
    assert poller.round() == INTERVAL
    assert samples(poller)["presage_market_errors_total/unavailable"] == 2


def test_a_market_that_does_not_exist_ends_the_exporter(made: Callable[..., Poller]) -> None:
    with pytest.raises(DataError, match="has no market 'BTC/USDX'"):
        made("BTC/USDX").run(lambda _: None)


def test_waits_double_up_to_five_minutes_and_are_never_shorter_than_the_interval() -> None:
    waits = [next_wait(INTERVAL, failures) for failures in range(40)]
    assert waits[:4] == [15, 30, 60, 120]
    assert waits[-1] == 300
    assert all(later >= earlier for earlier, later in pairwise(waits))
    assert next_wait(3600, 5) == 3600


def test_a_volume_that_is_not_told_is_left_out(clock: Clock) -> None:
    prices = PriceCollector("kraken", INTERVAL, clock)
    prices.told("BTC/USD", Ticker(None, 1.0, math.nan))
    text = generate_latest(prices.registry).decode()
    assert "presage_market_volume{" not in text
    assert 'presage_market_price_timestamp_seconds{exchange="kraken",symbol="BTC/USD"} 1.7e+09' in text
