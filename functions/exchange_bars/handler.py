"""Fetch the newest bars of an exchange and keep them in a bucket: an object a market and day.

The handler has the shape of AWS Lambda and is called by a schedule; a repeat leaves the objects as they are. What it
does is told by the environment; see README.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from math import isnan
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from presage.errors import DataError, JobError, StorageError
from presage.sources.candles import Timeframe, closed_candles, to_milliseconds
from presage.sources.ccxt_client import Candle, connect

_COLUMNS = ("time", "symbol", "open", "high", "low", "close", "volume")
_ATTEMPTS = 4
_DAYS_AT_MOST = 31
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


@dataclass(frozen=True)
class Settings:
    """What the function is told.

    Attributes:
        exchange: ccxt's id of the exchange.
        symbols: Markets.
        timeframe: Length of a bar.
        bucket: Where objects are written.
        prefix: What their keys start with.
        days: How many days back, the day of the call included, bars are fetched.
        uri: Address of the exchange; None for its own.
    """

    exchange: str
    symbols: tuple[str, ...]
    timeframe: Timeframe
    bucket: str
    prefix: str
    days: int
    uri: str | None

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> Settings:
        """Return the settings of an environment; raises JobError for one that is missing or wrong."""
        symbols = tuple(dict.fromkeys(_required(environment, "BARS_SYMBOLS").replace(",", " ").split()))
        if not symbols:
            raise JobError("BARS_SYMBOLS names no market.", "Write markets as ccxt does, such as BTC/USD,ETH/USD.")
        text = environment.get("BARS_TIMEFRAME", "1m")
        days = environment.get("BARS_DAYS", "2")
        try:
            timeframe = Timeframe.parse(text)
        except ValueError as error:
            raise JobError(f"BARS_TIMEFRAME: {error}.", "Correct it.") from error
        if timeframe.unit not in ("m", "h"):
            raise JobError(f"BARS_TIMEFRAME: {text!r} is not shorter than the day of an object.", "Write 1m or 1h.")
        if not days.isdecimal() or not 1 <= int(days) <= _DAYS_AT_MOST:
            raise JobError(f"BARS_DAYS: {days!r} is no number of days.", f"Write 1 to {_DAYS_AT_MOST}.")
        target = urlsplit(_required(environment, "BARS_TARGET"))
        if target.scheme != "s3" or not target.netloc or "@" in target.netloc or target.query or target.fragment:
            raise JobError("BARS_TARGET names no place in a bucket.", "Write s3://bucket/prefix.")
        return cls(
            exchange=_required(environment, "BARS_EXCHANGE"),
            symbols=symbols,
            timeframe=timeframe,
            bucket=target.netloc,
            prefix=target.path.strip("/"),
            days=int(days),
            uri=environment.get("BARS_URI") or None,
        )

    def key(self, symbol: str, day: str) -> str:
        """Return the key of the object of a market's day, such as prefix/BTC-USD/2017/01/31.csv."""
        name = symbol.replace("/", "-").replace(":", "-")
        return "/".join(part for part in (self.prefix, name, f"{day.replace('-', '/')}.csv") if part)


def handler(event: object, context: object) -> dict[str, list[str]]:  # noqa: ARG001  # the shape of the runtime
    """Fetch and keep the newest bars.

    Args:
        event: A schedule's event; its `time` is the moment of the call, so that a repeat of the event does the same.
        context: Not used.

    Returns:
        The keys that were written, and those that had all bars already.
    """
    return run(Settings.parse(os.environ), _moment(event))


def run(settings: Settings, now: datetime, *, sleep: Callable[[float], None] = time.sleep) -> dict[str, list[str]]:
    """Fetch the bars that have closed since the first of the settings' days, and merge them into the bucket's objects.

    Args:
        settings: What to fetch and where to keep it.
        now: Moment of the call, UTC.
        sleep: Waits for so many seconds.

    Raises:
        DataError: The exchange has no such market or bars, or an object is not one of this function's.
        JobError: There is no such bucket.
        SourceUnavailableError: The exchange does not answer or refuses.
        StorageError: The store refuses, or others keep writing to an object.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = to_milliseconds(midnight - timedelta(days=settings.days - 1))
    client = connect(settings.exchange, settings.exchange, sleep=sleep, uri=settings.uri)
    done: dict[str, list[str]] = {"written": [], "unchanged": []}
    with closing(client), closing(_store()) as store:
        client.require_timeframe(settings.timeframe.names)
        client.require_symbols(settings.symbols)
        for symbol in settings.symbols:
            pages = closed_candles(client, symbol, settings.timeframe, start, to_milliseconds(now), listed=True)
            for day, bars in groupby((candle for page in pages for candle in page), key=_day):
                key = settings.key(symbol, day)
                new = _merge(store, settings.bucket, key, dict(_lines(symbol, bars)))
                done["written" if new else "unchanged"].append(key)
    return done


def _merge(store: Any, bucket: str, key: str, bars: Mapping[str, tuple[str, ...]]) -> bool:  # noqa: ANN401  # untyped
    """Put bars into an object; what it has beside them stays. Return whether that changed it."""
    for _ in range(_ATTEMPTS):
        try:
            held, condition = _held(store, bucket, key)
            content = _written(_read(held, key) | bars)
            if content == held:
                return False
            store.put_object(Bucket=bucket, Key=key, Body=content, ContentType="text/csv", **condition)
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            if code in _CHANGED:
                continue
            if code == "NoSuchBucket":
                raise JobError(f"there is no bucket {bucket!r}.", "Make it, or correct BARS_TARGET.") from error
            raise StorageError(
                f"the store refuses s3://{bucket}/{key}: {code}.", "Allow the function to read and write there."
            ) from error
        except BotoCoreError as error:
            raise StorageError(
                f"the store cannot be asked for s3://{bucket}/{key} ({type(error).__name__}).",
                "Try again later, or correct AWS_ENDPOINT_URL, the credentials and the region.",
            ) from error
        return True
    raise StorageError(f"others keep writing to s3://{bucket}/{key}.", "Let one function write there.")


def _held(store: Any, bucket: str, key: str) -> tuple[bytes, dict[str, str]]:  # noqa: ANN401  # untyped
    try:
        answer = store.get_object(Bucket=bucket, Key=key)
    except store.exceptions.NoSuchKey:
        return b"", {"IfNoneMatch": "*"}
    return answer["Body"].read(), {"IfMatch": answer["ETag"]}


def _lines(symbol: str, candles: Iterable[Candle]) -> Iterable[tuple[str, tuple[str, ...]]]:
    for candle in candles:
        start = f"{datetime.fromtimestamp(candle.time / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        # The shortest digits that give the number again; what was not told is an empty cell.
        yield start, (start, symbol, *("" if isnan(value) else repr(value) for value in candle[1:]))


def _read(content: bytes, key: str) -> dict[str, tuple[str, ...]]:
    if not content:
        return {}
    header, _, text = content.decode(errors="replace").partition("\n")
    lines = [line.split(",") for line in text.splitlines()]
    if header != ",".join(_COLUMNS) or any(len(line) != len(_COLUMNS) for line in lines):
        raise DataError(f"{key} holds something else than bars; it was left as it is.", "Move it, or take a prefix.")
    return {line[0]: tuple(line) for line in lines}


def _written(bars: Mapping[str, tuple[str, ...]]) -> bytes:
    # No cell of a bar needs quotes: they are times, names of markets and numbers.
    return "".join(f"{','.join(line)}\n" for line in (_COLUMNS, *(bars[start] for start in sorted(bars)))).encode()


def _store() -> Any:  # noqa: ANN401  # the library is not typed
    elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        # Stores other than AWS have one host name, and not all of them know its newer checksums.
        s3={"addressing_style": "path" if elsewhere else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", region_name=os.environ.get("AWS_REGION", "us-east-1"), config=config)


def _day(candle: Candle) -> str:
    return f"{datetime.fromtimestamp(candle.time / 1000, UTC):%Y-%m-%d}"


def _moment(event: object) -> datetime:
    told = event.get("time") if isinstance(event, dict) else None
    if told is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(told)
    except (TypeError, ValueError) as error:
        raise JobError(f"the event's time is {told!r}.", "Send ISO 8601, such as 2017-01-31T00:05:00Z.") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise JobError(f"{name} is not set.", "Set it in the function's environment.")
    return value
