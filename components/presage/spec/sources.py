"""Where data comes from, when it could be known, and how its columns are read."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from presage.spec.base import (
    ColumnText,
    DurationText,
    FrequencyText,
    NameText,
    SpecModel,
    TimeZoneText,
    UriText,
)


class SecretRef(SpecModel):
    """A Secret in the job's namespace; on a laptop environment variables: FRED_API_KEY for `api-key` of `fred`."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, Field(max_length=253)] | None = None
    """One key of the Secret; default: all of its keys."""

    @property
    def prefix(self) -> str:
        """What the environment variables of its keys start with: its name in capitals, such as `FRED_` for fred."""
        return re.sub(r"[^A-Z0-9]", "_", self.name.upper()) + "_"


DayText = Annotated[
    str,
    Field(
        max_length=10,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        examples=["2015-01-01"],
        json_schema_extra={"patternErrorMessage": "a day as YYYY-MM-DD"},
    ),
]
"""A day, UTC."""


class Availability(SpecModel):
    """When a row could first be known. The lag is required: an undeclared one is how the future leaks in."""

    lag: DurationText
    """Time from the end of a row's period until it is published, such as 0s for a price or 30d for a statistic."""
    column: ColumnText | None = None
    """A column of the source that tells when each row was published; it takes the place of the lag."""
    revised: bool = False
    """Whether the publisher revises old rows and this source holds only the latest values (marked in the report)."""
    max_age: DurationText | None = None
    """How old the newest known row may be before its values count as missing; default: no limit."""


TableFormat = Literal["Auto", "CSV", "Parquet"]


class TableOptions(SpecModel):
    """How a file's rows are read."""

    format: TableFormat = "Auto"
    """File format; Auto tells by the name: .parquet is Parquet, the rest CSV. A .gz ending is unpacked."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """CSV: the character between cells."""
    skip_rows: Annotated[int, Field(ge=0, le=1000)] = 0
    """CSV: lines above the header, such as a banner."""
    null_values: Annotated[tuple[str, ...], Field(max_length=16)] = ("", "NA", "N/A", "null", ".")
    """CSV: cells that mean "no value"."""


class DatasetSource(SpecModel):
    """A real series that comes inside a Python package of the `train` extra."""

    name: Annotated[str, Field(min_length=1, max_length=128, examples=["arch/sp500"])]
    """One of arch/sp500, arch/nasdaq, arch/vix, arch/wti, arch/core-cpi."""


class FileSource(TableOptions):
    """Files on a disk."""

    uri: UriText
    """Path relative to the job file, or file:// URI; `*` and `**` match many files, read in name order."""


class S3Source(TableOptions):
    """Objects in an S3 store."""

    uri: UriText
    """s3://bucket/key; `*` matches many objects."""
    endpoint: UriText | None = None
    """URL of the store; default: the cloud's own."""
    region: Annotated[str, Field(max_length=64)] | None = None
    """Region name."""
    secret_ref: SecretRef | None = None
    """Keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""


class SqlSource(SpecModel):
    """A table or query of a relational database."""

    uri: UriText
    """sqlite://, mysql+pymysql:// or postgresql:// without credentials."""
    table: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Table to read."""
    query: Annotated[str, Field(min_length=1, max_length=16384)] | None = None
    """SELECT statement to read instead of a table."""
    incremental_column: ColumnText | None = None
    """Column that only grows, such as the time or an id; later runs read what lies above its last value."""
    secret_ref: SecretRef | None = None
    """Keys `username` and `password`."""

    one_of: ClassVar[tuple[str, ...]] = ("table", "query")


class HttpSource(TableOptions):
    """A CSV or JSON document behind HTTP, or candles of a broker, asked for by symbol and span."""

    url: UriText
    """http:// or https:// address. {start} and {end} stand for the span asked for, as ISO dates; {start:iso}, {start:s}
    and {start:ms} for it as a time, or as seconds or milliseconds since 1970; {symbol} for a symbol; {secret:KEY} for
    a key of the secret."""
    records: Annotated[str, Field(max_length=256)] | None = None
    """JSON Pointer to the list of rows; given, the answer is read as JSON. Rows are objects, or lists whose columns are
    called by their place: 0, 1 and so on."""
    next: Annotated[str, Field(max_length=256)] | None = None
    """JSON Pointer to the address of the next page, which must be of the same host; its absence ends the list."""
    symbols: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=500)] = ()
    """Symbols to ask for, one after the other; each is a series. The address names {symbol}."""
    since: DayText | None = None
    """First day to ask for where the address names {start}; default: 1970-01-01."""
    span: DurationText | None = None
    """Longest span to ask for at once; default: all of it."""
    secret_ref: SecretRef | None = None
    """Keys that the address does not name are sent as headers, with hyphens for underscores; a key that `secretRef.key`
    names, under that very name."""


class ExchangeSource(SpecModel):
    """OHLCV candles of an exchange, by ccxt's names; columns open, high, low, close and volume, series by symbol."""

    name: Annotated[str, Field(min_length=1, max_length=64, examples=["kraken"])]
    """Exchange id."""
    symbols: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(min_length=1, max_length=500)]
    """Market symbols, such as BTC/USD; more than one makes a panel of series."""
    since: DayText | None = None
    """First day to fetch, UTC; default: as far back as the exchange gives."""
    uri: UriText | None = None
    """Address of its API; default: the exchange's own."""
    secret_ref: SecretRef | None = None
    """Keys `apiKey` and `secret`, for exchanges that ask for them."""


class KafkaSource(SpecModel):
    """A Kafka topic of JSON rows."""

    uri: UriText
    """kafka://host:port."""
    topic: Annotated[str, Field(min_length=1, max_length=249)]
    """Topic to read."""
    secret_ref: SecretRef | None = None
    """Keys `username` and `password`."""


class NatsSource(SpecModel):
    """A NATS JetStream subject of JSON rows."""

    uri: UriText
    """nats://host:port."""
    stream: Annotated[str, Field(min_length=1, max_length=128)]
    """Stream to read."""
    subject: Annotated[str, Field(min_length=1, max_length=256)]
    """Subject filter."""
    secret_ref: SecretRef | None = None
    """Keys `username` and `password`, or `credentials`."""


class ClickHouseSource(SpecModel):
    """A table or query of ClickHouse."""

    uri: UriText
    """clickhouse://host:port/database, or chdb:///directory for the embedded engine."""
    table: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Table to read."""
    query: Annotated[str, Field(min_length=1, max_length=16384)] | None = None
    """SELECT statement to read instead of a table."""
    incremental_column: ColumnText | None = None
    """Column that only grows, such as the time or an id; later runs read what lies above its last value."""
    secret_ref: SecretRef | None = None
    """Keys `username` and `password`."""

    one_of: ClassVar[tuple[str, ...]] = ("table", "query")


SOURCE_KINDS = ("dataset", "file", "s3", "sql", "http", "exchange", "kafka", "nats", "clickhouse")

Aggregation = Literal["first", "last", "min", "max", "mean", "sum"]


class Fill(SpecModel):
    """How gaps between bars are filled. Nothing is filled by default; what is filled is marked."""

    method: Literal["None", "Forward"] = "None"
    """Forward repeats the last bar's values."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 1
    """Most bars in a row that may be filled; longer gaps stay gaps."""


ColumnMap = Annotated[dict[Annotated[str, Field(max_length=128)], ColumnText], Field(max_length=256)]


class Source(SpecModel):
    """One source of rows: where it is, how its time is read and when its rows could be known."""

    name: NameText
    """Name by which features and the target refer to this source."""
    availability: Availability
    """When a row could first be known."""
    dataset: DatasetSource | None = None
    """A real series inside a Python package."""
    file: FileSource | None = None
    """Files on a disk."""
    s3: S3Source | None = None
    """Objects in an S3 store."""
    sql: SqlSource | None = None
    """A relational database."""
    http: HttpSource | None = None
    """A document behind HTTP."""
    exchange: ExchangeSource | None = None
    """Candles of an exchange."""
    kafka: KafkaSource | None = None
    """A Kafka topic."""
    nats: NatsSource | None = None
    """A NATS JetStream subject."""
    clickhouse: ClickHouseSource | None = None
    """ClickHouse."""
    time: ColumnText = "time"
    """Column that says when a row's period was."""
    time_format: Annotated[str, Field(max_length=64, examples=["%m/%d/%Y"])] | None = None
    """strftime format of a text time; default: ISO 8601."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of a numeric time since 1970-01-01 UTC; required where the time is a number."""
    time_zone: TimeZoneText = "UTC"
    """Zone of times without an offset, and of the days that daily and longer bars cover."""
    time_label: Literal["PeriodStart", "PeriodEnd"] = "PeriodStart"
    """Whether the time is the start or the end of the row's period."""
    frequency: FrequencyText | None = None
    """Length of a row's period; default: the job's frequency. Finer rows are made into bars of the job's frequency."""
    series: ColumnText | None = None
    """Column that tells one series from another; default: the source is one series."""
    columns: ColumnMap = {}
    """New name to the source's name, for each column to keep; default: all numeric columns under their own names."""
    units: ColumnMap = {}
    """Unit of each column, such as USD or percent; shown in reports."""
    aggregation: Annotated[dict[Annotated[str, Field(max_length=128)], Aggregation], Field(max_length=256)] = {}
    """How finer rows make a bar, for each column; default: open first, high max, low min, volume sum, others last."""
    invalid_rows: Literal["Reject", "Drop"] = "Reject"
    """What happens to rows that cannot be true, such as an infinite value or a high below the low: Reject stops with
    an error that names the first one, Drop leaves them out and counts them."""
    fill: Fill = Fill()
    """How gaps between bars are filled."""

    one_of: ClassVar[tuple[str, ...]] = SOURCE_KINDS

    @property
    def kind(self) -> str:
        """Name of the one source kind that is set."""
        return next(kind for kind in SOURCE_KINDS if getattr(self, kind) is not None)
