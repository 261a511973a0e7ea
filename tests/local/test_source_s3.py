"""Objects of a real S3 server as a source, and stores that fail."""

from __future__ import annotations

import gzip
import io
import logging
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import boto3
import polars as pl
import pytest
from commands import EXAMPLES, presage
from doubles.web import Asked, Reply, site
from s3.gateway import BUCKET, KEY, SECRET, Gateway
from source_case import asked

from presage.errors import DataError, JobError, MissingExtraError, PresageError, SourceUnavailableError
from presage.sources.contract import Request, Table
from presage.sources.retries import ATTEMPTS
from presage.sources.rows import read_rows
from presage.sources.s3 import read
from presage.spec.sources import Source

HERE = Path("/")
TEXT = "Date,Open,Close\n2020-03-01,1,2\n2020-03-02,3,4\n2020-03-03,5,6\n"
KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
Put = Callable[[str, bytes], None]


@pytest.fixture
def put(store: Gateway) -> Iterator[Put]:
    """Writes objects into the bucket."""
    client = boto3.client(
        "s3", endpoint_url=store.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    with closing(client):
        yield lambda key, content: client.put_object(Bucket=BUCKET, Key=key, Body=content) and None


@pytest.fixture
def new_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library forget the credentials that it found in the environment before."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def declare(endpoint: str | None, key: str, *, bucket: str = BUCKET, **fields: object) -> Source:
    names = ("format", "skipRows", "region")
    s3 = {"uri": f"s3://{bucket}/{key}", "endpoint": endpoint, "secretRef": {"name": "store"}}
    s3 |= {name: fields.pop(name) for name in names if name in fields}
    return Source.model_validate({"name": "btc", "time": "Date", "availability": {"lag": "0s"}, "s3": s3} | fields)


def with_keys(**others: object) -> Request:
    return asked(HERE, **({"secret": lambda _: KEYS} | others))


def refusal(source: Source, error: type[PresageError] = DataError, **request: object) -> str:
    """Return what is said, after making sure that nothing was given and no key is told."""
    given: list[Table] = []
    with pytest.raises(error) as raised:
        given.extend(read(source, with_keys(**request)))
    assert given == []
    assert "source 'btc'" in raised.value.what
    assert raised.value.remedy
    assert SECRET not in repr(raised.value) + repr(raised.value.__cause__)
    return str(raised.value)


def closes(tables: Iterable[Table]) -> list[float]:
    return [float(table.data["Close"].item()) for table in tables]


# What can be read


def parquet() -> bytes:
    buffer = io.BytesIO()
    pl.read_csv(TEXT.encode()).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("formats/a.csv", TEXT.encode()),
        ("formats/a.csv.gz", gzip.compress(TEXT.encode(), mtime=0)),
        ("formats/a.parquet", parquet()),
        ("formats/two words #1?+%41.csv", TEXT.encode()),
    ],
    ids=["csv", "gzip", "parquet", "signs"],
)
def test_an_object_is_read_by_its_name(store, put, key, content):
    put(key, content)
    assert read_rows(declare(store.url, key), with_keys()).rows["Close"].to_list() == [2.0, 4.0, 6.0]


def test_objects_are_read_in_the_order_of_their_names(store, put):
    for year in (2021, 2019, 2020):
        put(f"order/{year}.csv", f"Date,Close\n{year}-01-01,{year}\n".encode())
    put("order/2022.txt", b"no such thing")
    put("order/deeper/2018.csv", b"Date,Close\n2018-01-01,2018\n")
    tables = list(read(declare(store.url, "order/*.csv"), with_keys()))
    assert [table.parts[0].name for table in tables] == [
        f"s3://{BUCKET}/order/{year}.csv" for year in (2019, 2020, 2021)
    ]
    everything = list(read(declare(store.url, "order/**/*.csv"), with_keys()))
    assert closes(everything) == [2019, 2020, 2021, 2018]


def test_more_objects_than_one_page_of_a_list_are_all_read(store, put):
    # A page has a thousand; these are only listed.
    for number in range(1005):
        (store.folder / "pages").mkdir(exist_ok=True)
        (store.folder / "pages" / f"{number:04d}.txt").write_bytes(b"")
    put("pages/last.csv", TEXT.encode())
    (table,) = read(declare(store.url, "pages/*.csv"), with_keys())
    assert table.data.height == 3


def test_the_keys_and_the_address_may_come_from_the_environment(store, put, new_session, monkeypatch):
    put("environment/a.csv", TEXT.encode())
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    source = declare(None, "environment/a.csv")
    source = source.model_copy(update={"s3": source.s3.model_copy(update={"secret_ref": None})})
    assert read_rows(source, asked(HERE)).rows.height == 3
    monkeypatch.setenv("STORE_AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("STORE_AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert read_rows(declare(store.url, "environment/a.csv"), asked(HERE)).rows.height == 3


# Objects that have not changed


def test_objects_are_got_again_from_the_first_changed_one_on_because_of_equal_rows_the_later_name_counts(store, put):
    source = declare(store.url, "changes/*.csv")
    for day in (1, 2, 3):
        put(f"changes/{day}.csv", f"Date,Close\n2020-03-0{day},1\n".encode())
    first = list(read(source, with_keys()))
    assert len(first) == 3
    bookmark = first[-1].bookmark
    assert list(read(source, with_keys(bookmark=bookmark))) == []
    put("changes/2.csv", b"Date,Close\n2020-03-02,2\n")
    put("changes/4.csv", b"Date,Close\n2020-03-04,4\n")
    changed = list(read(source, with_keys(bookmark=bookmark)))
    assert closes(changed) == [2, 1, 4]
    assert list(read(source, with_keys(bookmark=changed[-1].bookmark))) == []
    assert len(list(read(source, with_keys(bookmark=bookmark, start=datetime(2020, 1, 1, tzinfo=UTC))))) == 4


def test_a_read_that_is_broken_off_anywhere_goes_on_behind_what_was_kept(store, put):
    for number in range(5):
        put(f"broken/{number}.csv", f"Date,Close\n2020-03-0{number + 1},{number}\n".encode())
    source = declare(store.url, "broken/*.csv")
    tables = list(read(source, with_keys()))
    for kept in range(5):
        rest = read(source, with_keys(bookmark=tables[kept].bookmark))
        assert closes(rest) == list(range(kept + 1, 5))


def test_the_bookmarks_of_many_objects_stay_few(store, put, monkeypatch):
    monkeypatch.setattr("presage.sources.s3._MARKS", 2)
    for number in range(7):
        put(f"few/{number}.csv", f"Date,Close\n2020-03-0{number + 1},{number}\n".encode())
    source = declare(store.url, "few/*.csv")
    tables = list(read(source, with_keys()))
    assert len({table.bookmark for table in tables}) == 4
    for done, table in enumerate(tables, start=1):
        again = closes(read(source, with_keys(bookmark=table.bookmark)))
        assert set(range(done, 7)) <= set(again)
    assert list(read(source, with_keys(bookmark=tables[-1].bookmark))) == []


def test_one_object_that_has_not_changed_gives_no_table(store, put):
    put("one/a.csv", TEXT.encode())
    source = declare(store.url, "one/a.csv")
    (table,) = read(source, with_keys())
    assert list(read(source, with_keys(bookmark=table.bookmark))) == []
    put("one/a.csv", f"{TEXT}2020-03-04,7,8\n".encode())
    (changed,) = read(source, with_keys(bookmark=table.bookmark))
    assert changed.data.height == 4


# What cannot be read


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": "none.csv"}, f"s3://{BUCKET}/none.csv: there is no such object"),
        ({"key": "none/*.csv"}, f"s3://{BUCKET}/none/*.csv: no object matches"),
        ({"key": "a.csv", "bucket": "no-such-bucket"}, "there is no bucket 'no-such-bucket' at http://"),
        ({"key": "*.csv", "bucket": "no-such-bucket"}, "there is no bucket 'no-such-bucket' at http://"),
    ],
)
def test_what_is_not_there_is_told(store, fields, words):
    assert words in refusal(declare(store.url, **fields))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (KEYS | {"AWS_ACCESS_KEY_ID": "somebody"}, "refuses access: XAdminUserNotFound"),
        (KEYS | {"AWS_SECRET_ACCESS_KEY": f"not-{SECRET}"}, "does not know these keys: SignatureDoesNotMatch"),
    ],
)
def test_wrong_keys_are_told_apart_and_never_shown(store, put, keys, words, caplog):
    caplog.set_level(logging.DEBUG)
    put("keys/a.csv", TEXT.encode())
    caplog.clear()
    assert words in refusal(declare(store.url, "keys/a.csv"), secret=lambda _: keys)
    assert SECRET not in caplog.text


def test_a_secret_without_a_key_is_told(store):
    with pytest.raises(JobError, match="secret 'store': it has no key 'AWS_SECRET_ACCESS_KEY'"):
        list(read(declare(store.url, "a.csv"), with_keys(secret=lambda _: {"AWS_ACCESS_KEY_ID": KEY})))


def test_no_keys_at_all_are_told(store, new_session, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    source = declare(store.url, "a.csv")
    source = source.model_copy(update={"s3": source.s3.model_copy(update={"secret_ref": None})})
    assert "NoCredentialsError" in refusal(source, JobError)


@pytest.mark.parametrize("uri", ["s3://", "s3://lakes", "s3://lakes/", "s3://a b/c", "s3://u:p@lakes/c", "gs://a/b"])
def test_a_location_that_names_no_object_is_refused(store, uri):
    source = declare(store.url, "a.csv")
    with pytest.raises(JobError, match="names no object"):
        list(read(source.model_copy(update={"s3": source.s3.model_copy(update={"uri": uri})}), with_keys()))


def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert "package boto3, which is not installed. Install it: pip install 'presage[s3]'" in refusal(
        declare(None, "a.csv"), MissingExtraError
    )


def test_an_endpoint_that_is_no_address_is_refused():
    assert "the store cannot be found" in refusal(declare("not an address", "a.csv"), JobError)


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        ("wrong/a.csv", b"", "the file is empty"),
        ("wrong/a.csv.gz", gzip.compress(TEXT.encode(), mtime=0)[:-9], "cut off before its end"),
        ("wrong/a.parquet", parquet()[:-9], "no Parquet, or is cut off"),
        ("wrong/a.csv", TEXT.encode()[:-5], "the last line has 1 of 3 cells"),
        ("wrong/a.csv", TEXT.replace("Close", "Schluß").encode("latin-1"), "line 1: the file is no UTF-8 text"),
    ],
    ids=["empty", "cut gzip", "cut parquet", "cut line", "encoding"],
)
def test_a_bad_object_is_named(store, put, key, content, words):
    put(key, content)
    message = refusal(declare(store.url, key))
    assert words in message
    assert f"s3://{BUCKET}/{key}" in message


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("Date,Last\n2020-03-04,7\n", "no column 'Close'"),
        ("Date,Close\n2020-03-04,=1+1\n", f"s3://{BUCKET}/columns/2.csv, line 2, column 'Close': '=1+1' is no number"),
        (f"Date,Close\n2020-03-04,{'x' * 3_000_000}\n", "is no number"),
    ],
    ids=["changed columns", "formula", "huge cell"],
)
def test_a_bad_row_of_many_objects_is_named_with_its_place(store, put, second, words):
    put("columns/1.csv", TEXT.encode())
    put("columns/2.csv", second.encode())
    with pytest.raises(DataError) as raised:
        read_rows(declare(store.url, "columns/*.csv", columns={"Close": "Close"}), with_keys())
    assert words in str(raised.value)
    assert "columns/2.csv" in str(raised.value)
    assert len(str(raised.value)) < 500


# Stores that fail


def xml(code: str, status: int) -> Reply:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>it says so</Message></Error>'
    return Reply(body.encode(), status, {"Content-Type": "application/xml"})


def replying(*replies: Reply) -> Callable[[Asked], Reply]:
    """Answer one after the other; the last one stays."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


GOOD = Reply(TEXT.encode(), headers={"ETag": '"1"', "Last-Modified": "Sun, 01 Mar 2020 00:00:00 GMT"})
CUT = Reply(TEXT.encode(), headers=GOOD.headers, length=len(TEXT) + 1)


@pytest.mark.parametrize(
    "fault",
    [xml("SlowDown", 503), xml("InternalError", 500), xml("TooManyRequests", 429), Reply(b"<html>", 502), CUT],
    ids=["slow down", "internal", "too many", "gateway", "cut off"],
)
def test_a_fault_of_a_store_double_that_passes_is_tried_again(fault):
    waits: list[float] = []
    with site(replying(fault, fault, GOOD)) as running:
        (table,) = read(declare(running.url, "a.csv"), with_keys(sleep=waits.append))
    assert table.data.height == 3
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [(xml("SlowDown", 503), "answers SlowDown, 5 times"), (CUT, "breaks off (ResponseStreamingError), 5 times")],
    ids=["slow down", "cut off"],
)
def test_a_store_double_that_stays_faulty_is_told_after_a_few_attempts(fault, words):
    with site(lambda _: fault) as running:
        assert words in refusal(declare(running.url, "a.csv"), SourceUnavailableError)
    assert len(running.asked) == ATTEMPTS


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (xml("AccessDenied", 403), "refuses access: AccessDenied"),
        (xml("RequestTimeTooSkewed", 403), "this machine's clock differs"),
        (xml("ExpiredToken", 400), "does not know these keys: ExpiredToken"),
        (Reply(b"<html>no store here</html>", 404), "there is no such object"),
        (Reply(b"<html>no store here</html>"), "does not answer as an S3 store does"),
    ],
    ids=["denied", "skewed", "expired", "no store", "a page"],
)
def test_a_refusal_of_a_store_double_is_told_at_once(fault, words):
    with site(lambda _: fault) as running:
        assert words in refusal(declare(running.url, "a.csv"))
    assert len(running.asked) == 1


LISTED = """<?xml version="1.0"?><ListBucketResult><Name>lakes</Name><IsTruncated>true</IsTruncated>
<NextContinuationToken>again</NextContinuationToken><Contents><Key>a.csv</Key><ETag>"1"</ETag></Contents>
</ListBucketResult>"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (LISTED, "repeats a page of its list"),
        (LISTED.replace("ETag", "Tag"), "does not answer as an S3 store does"),
    ],
    ids=["repeats", "no tags"],
)
def test_a_list_of_a_store_double_that_leads_nowhere_is_refused(body, words):
    with site(lambda _: Reply(body.encode(), headers={"Content-Type": "application/xml"})) as running:
        assert words in refusal(declare(running.url, "*.csv"))


def test_a_store_that_is_down_is_told():
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        message = refusal(declare(url, "a.csv"), SourceUnavailableError)
    assert f"the store at {url} does not answer" in message


def test_a_store_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("presage.sources.s3._READ_SECONDS", 0.05)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "ReadTimeoutError" in refusal(declare(url, "a.csv"), SourceUnavailableError)


# From the command


def test_the_command_reads_the_seed_s_files_from_the_store(store, put, shared_data, tmp_path):
    chain = shared_data / "coinmetrics_community" / "coinmetrics_btc.csv.gz"
    put("btc/chain.csv.gz", chain.read_bytes())
    words = (
        *("run", EXAMPLES / "btc-daily.yaml", "--workdir", tmp_path),
        *("--source", f"btc={shared_data / 'kraken_daily' / 'Kraken_BTCUSD_d.csv'}"),
        *("--source", f"chain=s3://{BUCKET}/btc/chain.csv.gz"),
        *("--source", f"treasury=s3://{BUCKET}/btc/none.csv"),
    )
    told = presage(*words, code=5, **store.environment()).err
    assert f"source 'treasury', s3://{BUCKET}/btc/none.csv: there is no such object" in told
    assert SECRET not in told
    assert not (tmp_path / "lake").exists()
