"""How a job runs once it is on: serving, monitoring, schedule, engine, sinks, resources, retention."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from presage.spec.base import DurationText, NameText, Rule, SpecModel, TimeZoneText, UriText
from presage.spec.sources import SecretRef


class Replicas(SpecModel):
    """How many servers answer."""

    min: Annotated[int, Field(ge=0, le=1000)] = 1
    """Fewest."""
    max: Annotated[int, Field(ge=1, le=1000)] = 2
    """Most."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.min <= self.max", "min must be at most max", ".min"),)

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            raise PydanticCustomError("field", "at most `max`", {"field": "min"})
        return self


class Serving(SpecModel):
    """How forecasts are served on a cluster."""

    enabled: bool = True
    """Whether an inference server runs; for Regression and Classification none does."""
    replicas: Replicas = Replicas()
    """How many servers answer."""
    canary_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of requests that a newly promoted model answers first."""
    shadow: bool = False
    """Whether the best challenger also answers, unseen, to be graded."""


class Monitoring(SpecModel):
    """How issued forecasts are watched once the truth is known."""

    window: Annotated[int, Field(ge=10, le=100000)] = 100
    """Newest graded forecasts that live skill and coverage are taken over."""
    max_staleness: DurationText | None = None
    """Age of the newest bar after which forecasts are called stale; default: twice the frequency."""
    rollback: bool = False
    """Whether live skill or coverage out of band brings the last champion back."""


class Cadence(SpecModel):
    """When something runs; the fields are CronJob's."""

    schedule: Annotated[
        str,
        Field(
            max_length=256,
            pattern=r"^(@(yearly|annually|monthly|weekly|daily|hourly)|\S+( \S+){4})$",
            examples=["0 6 * * 1-5"],
            json_schema_extra={
                "patternErrorMessage": "five cron fields with one space between them, or @yearly, @annually, @monthly, "
                "@weekly, @daily or @hourly"
            },
        ),
    ]
    """Cron expression: minute, hour, day of the month, month, day of the week (0 is Sunday)."""
    time_zone: TimeZoneText = "Etc/UTC"
    """Zone of the schedule."""
    suspend: bool = False
    """Whether runs are held back."""
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = "Forbid"
    """What happens when the last run is still going."""
    starting_deadline_seconds: Annotated[int, Field(ge=0, le=31536000)] | None = None
    """Seconds after which a missed start is skipped; default: never."""
    successful_jobs_history_limit: Annotated[int, Field(ge=0, le=1000)] = 3
    """Finished runs to keep."""
    failed_jobs_history_limit: Annotated[int, Field(ge=0, le=1000)] = 1
    """Failed runs to keep."""


class Schedule(SpecModel):
    """The two cadences of a job; without one, it runs once."""

    train: Cadence | None = None
    """When data is refreshed, models are trained anew and judged."""
    forecast: Cadence | None = None
    """When data is refreshed, forecasts are graded and new ones issued."""


class Engine(SpecModel):
    """What runs the (model, fold, series) tasks."""

    type: Literal["local", "spark", "dask"] = "local"
    """Local processes, Spark or Dask; the result is the same."""
    workers: Annotated[int, Field(ge=1, le=1000)] = 1
    """Tasks at a time; on a cluster of Spark or Dask, its own workers decide."""
    address: UriText | None = None
    """Address of the Spark master, such as spark://host:7077 or local[2], or of the Dask scheduler, such as
    tcp://host:8786; default: one that is started in this machine."""


class SqlSink(SpecModel):
    """A table of a relational database."""

    uri: UriText
    """mysql+pymysql://, postgresql:// or sqlite:// without credentials."""
    secret_ref: SecretRef | None = None
    """Keys `username` and `password`."""


class UriSink(SpecModel):
    """Parquet files at a location."""

    uri: UriText
    """file:// or s3:// directory."""
    secret_ref: SecretRef | None = None
    """Keys of the store."""


class Sink(SpecModel):
    """Where a job's results also go."""

    name: NameText
    """Name of the sink."""
    data: Literal["raw", "bars", "frames", "forecasts", "grades", "metrics"] = "forecasts"
    """Which results: rows as the sources gave them, bars, frames (what models are given), forecasts, grades, or metrics
    (what each run found of each contender). Of Regression and Classification raw are the rows, and forecasts the
    predictions of open ones."""
    layout: Literal["Native", "DsYSymbol"] = "Native"
    """Native keeps the data's own columns. DsYSymbol has a row a series and time with `ds`, `y` (the target's column)
    and `symbol`, as Prophet reads it; for bars and frames."""
    table: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Name of the table; default: the job's name and the data's."""
    sql: SqlSink | None = None
    """A relational database."""
    files: UriSink | None = None
    """Parquet files."""

    one_of: ClassVar[tuple[str, ...]] = ("sql", "files")


Quantity = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$",
        examples=["500m", "2Gi"],
        json_schema_extra={"patternErrorMessage": "a Kubernetes quantity such as 500m or 2Gi"},
    ),
]


class ResourceAmounts(SpecModel):
    """Amounts in Kubernetes quantities."""

    cpu: Quantity | None = None
    """Cores, such as 500m."""
    memory: Quantity | None = None
    """Bytes, such as 2Gi."""


class Resources(SpecModel):
    """What one step of a run asks for on a cluster."""

    requests: ResourceAmounts = ResourceAmounts(cpu="500m", memory="1Gi")
    """What is set aside."""
    limits: ResourceAmounts = ResourceAmounts(memory="4Gi")
    """What may not be passed."""


class Retention(SpecModel):
    """What is kept."""

    runs: Annotated[int, Field(ge=1, le=100000)] = 20
    """Newest runs to keep; the lake keeps every version that a kept run needs."""
