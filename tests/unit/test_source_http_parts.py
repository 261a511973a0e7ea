"""Addresses with placeholders, pointers, attempts, and rows later than a read: decided without a server."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from source_case import asked

from presage.errors import JobError, SourceUnavailableError
from presage.sources.addresses import Address, Span, parse_address
from presage.sources.contract import Part, Table
from presage.sources.cutoff import cut_off
from presage.sources.documents import find
from presage.sources.download import same_host
from presage.sources.retries import ATTEMPTS, PassingError, retried
from presage.spec.base import Frequency
from presage.spec.sources import Source

SPAN = Span(datetime(2020, 1, 1, 22, 30, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC))


def declare(**fields: object) -> Source:
    base = {"name": "btc", "time": "Date", "availability": {"lag": "0s"}, "http": {"url": "http://a.example/"}}
    return Source.model_validate(base | fields)


def address(url: str, values: dict[str, str] | None = None, *, zone: str = "UTC", **fields: object) -> Address:
    source = declare(http={"url": url} | fields, timeZone=zone)
    assert source.http is not None
    return parse_address(source, source.http, values or {})


@pytest.mark.parametrize(
    ("template", "zone", "filled"),
    [
        ("{start}/{end}", "UTC", "2020-01-01/2020-02-01"),
        ("{start}/{end}", "Asia/Tokyo", "2020-01-02/2020-02-01"),
        ("{start:iso}/{end:iso}", "Asia/Tokyo", "2020-01-01T22:30:00Z/2020-02-01T00:00:00Z"),
        ("{start:s}/{end:s}", "UTC", "1577917800/1580515200"),
        ("{start:ms}/{end:ms}", "UTC", "1577917800000/1580515200000"),
        ("{start}/{start}", "UTC", "2020-01-01/2020-01-01"),
    ],
)
def test_the_places_of_a_span_are_filled(template, zone, filled):
    assert address(f"http://a.example/{template}", zone=zone).fill(SPAN, None) == f"http://a.example/{filled}"


def test_a_secret_is_filled_in_and_never_shown():
    told = address(
        "https://a.example/{symbol}?k={secret:api_key}", {"API_KEY": "a/b {start}", "X-A": "1"},
        symbols=["BTC/USD"], secretRef={"name": "a"},
    )  # fmt: skip
    assert told.fill(SPAN, "BTC/USD") == "https://a.example/BTC%2FUSD?k=a%2Fb%20%7Bstart%7D"
    assert told.shown(SPAN, "BTC/USD") == "https://a.example/BTC%2FUSD?k={secret:api_key}"
    assert told.headers == {"X-A": "1"}
    assert "a/b" not in repr(told)


@pytest.mark.parametrize(
    ("url", "fields", "words"),
    [
        ("a.example/a.csv", {}, "no http:// or https:// address"),
        ("ftp://a.example/", {}, "no http:// or https:// address"),
        ("http://", {}, "no http:// or https:// address"),
        ("http://user:word@a.example/", {}, "holds credentials"),
        ("http://{secret:host}/", {"secretRef": {"name": "a"}}, "host's name has a placeholder"),
        ("http://a.example/{day}", {}, "nothing fills {day}"),
        ("http://a.example/{start:us}", {}, "nothing fills {start:us}"),
        ("http://a.example/{symbol}", {}, "there are none"),
        ("http://a.example/", {"symbols": ["A"]}, "does not say where its symbols go"),
        ("http://a.example/{start}", {"span": "1d"}, "`span` needs {start} and {end}"),
        ("http://a.example/{start}/{end}", {"span": "0s"}, "never ends"),
        ("http://a.example/{secret:key}", {}, "without a secret"),
        ("http://a.example/{secret:key}", {"secretRef": {"name": "a"}}, "has no key 'key'"),
    ],
)
def test_an_address_that_cannot_be_filled_is_refused(url, fields, words):
    with pytest.raises(JobError) as raised:
        address(url, **fields)
    assert words in raised.value.what
    assert raised.value.remedy
    assert "word" not in str(raised.value).replace("words", "")


def test_a_key_in_the_address_is_no_header_however_its_variable_is_written():
    told = address("https://a.example/?k={secret:tls.crt}", {"TLS_CRT": "two\nlines"}, secretRef={"name": "a"})
    assert told.headers == {}


@pytest.mark.parametrize(
    ("reference", "header"),
    [({"name": "a"}, "X-CMC-PRO-API-KEY"), ({"name": "a", "key": "X-CMC_PRO_API_KEY"}, "X-CMC_PRO_API_KEY")],
    ids=["all keys", "one key"],
)
def test_an_underscore_is_a_header_s_hyphen_unless_the_job_names_the_key(reference, header):
    values = {reference.get("key", "X_CMC_PRO_API_KEY"): "1"}
    assert address("https://a.example/", values, secretRef=reference).headers == {header: "1"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"HOST": "b.example"}, "each request sets itself"),
        ({"Content_Length": "5"}, "each request sets itself"),
        ({"IF_NONE_MATCH": "*"}, "each request sets itself"),
        ({"API_KEY": "1", "api_key": "2"}, "two of its keys are the header"),
        ({"API_KEY": "one\ntwo"}, "cannot be sent as a header"),
    ],
)
def test_keys_that_cannot_be_headers_are_refused(values, words):
    with pytest.raises(JobError) as raised:
        address("https://a.example/", values, secretRef={"name": "a"})
    assert words in raised.value.what


DOCUMENT = {"a": {"b": ["1", {"c/d": "2", "e~f": "3"}]}, "": "4"}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", DOCUMENT),
        ("/a/b/0", "1"),
        ("/a/b/1/c~1d", "2"),
        ("/a/b/1/e~0f", "3"),
        ("/", "4"),
        ("/a/b/2", None),
        ("/a/b/-1", None),
        ("/a/x/y", None),
        ("/a/b/0/z", None),
    ],
)
def test_a_pointer_is_followed(pointer, found):
    assert find(DOCUMENT, pointer, "") == found


@pytest.mark.parametrize(
    ("base", "other", "joined"),
    [
        ("http://a.example/x/y?k=1", "z?p=2", "http://a.example/x/z?p=2"),
        ("http://a.example/", "HTTP://A.example:80/z", "http://a.example/z"),
        ("http://a.example/", "https://a.example/z", "https://a.example/z"),
        ("http://a.example/", "http://me:word@a.example/z#part", "http://a.example/z"),
    ],
)
def test_an_address_of_the_same_host_is_joined(base, other, joined):
    assert same_host(base, other, "") == joined


def test_attempts_end_and_their_waits_grow():
    waits: list[float] = []

    def fail() -> None:
        raise PassingError("it is down.", "Wait.")

    with pytest.raises(SourceUnavailableError) as raised:
        retried(fail, sleep=waits.append, jitter=lambda: 0.0)
    assert type(raised.value) is SourceUnavailableError
    assert str(raised.value) == f"it is down, {ATTEMPTS} times. Wait."
    assert waits == [0.5, 1.0, 2.0, 4.0]
    waits.clear()
    with pytest.raises(SourceUnavailableError):
        retried(fail, sleep=waits.append, jitter=lambda: 1.0)
    assert waits == [0.25, 0.5, 1.0, 2.0]


def test_no_attempt_follows_one_that_succeeds():
    left = iter([1])
    assert retried(lambda: next(left), sleep=lambda _: pytest.fail("it waited")) == 1


@pytest.mark.parametrize(
    ("label", "frequency", "kept"),
    [("PeriodStart", Frequency(1, "h"), 2), ("PeriodEnd", Frequency(1, "h"), 3), ("PeriodEnd", Frequency(1, "m"), 3)],
)
def test_rows_are_left_out_by_the_start_of_their_period(label, frequency, kept):
    hours = [f"2020-01-01T{hour:02d}:00Z" for hour in range(6)]
    table = Table(pl.DataFrame({"Date": hours}), (Part("a", 6, 2),))
    request = asked(None, frequency, end=datetime(2020, 1, 1, 2, tzinfo=UTC))
    cut = cut_off(table, declare(timeLabel=label), request)
    assert cut.table.data["Date"].to_list() == hours[:kept]
    assert cut.left_out == 6 - kept


def test_a_date_is_the_day_s_start_in_its_zone():
    table = Table(pl.DataFrame({"Date": ["2020-01-01", "2020-01-02"]}), (Part("a", 2),))
    request = asked(None, end=datetime(2020, 1, 1, 16, tzinfo=UTC))
    cut = cut_off(table, declare(timeZone="Asia/Tokyo"), request)
    assert cut.left_out == 0
    assert cut.newest == datetime(2020, 1, 1, 15, tzinfo=UTC)


def test_rows_keep_their_places_when_others_go():
    days = ["2020-01-03", "2020-01-01", "2020-01-04", "2020-01-02", "2020-01-02"]
    notes = ["two\nlines", "", "", "", ""]
    request = asked(None, end=datetime(2020, 1, 3, tzinfo=UTC))
    for first_line, places in (
        (2, ["line 4", "line 6", "line 7"]),
        (None, ["behind row 1, row 1", "behind row 3, row 1"]),
    ):
        table = Table(pl.DataFrame({"Date": days, "Note": notes}), (Part("a", 5, first_line),))
        cut = cut_off(table, declare(), request).table
        assert [cut.where(row) for row in range(len(places))] == [f"a, {place}" for place in places]
