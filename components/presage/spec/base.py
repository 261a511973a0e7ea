"""The base of every PredictionJob type: frozen, unknown fields forbidden, camelCase in the file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Rule(NamedTuple):
    """A CEL rule that the API server enforces on admission; validators of the same type enforce it on a laptop."""

    rule: str
    message: str


class SpecModel(BaseModel):
    """A frozen value of the job file; `rules` go to the CRD as `x-kubernetes-validations`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        ser_json_inf_nan="constants",
        allow_inf_nan=False,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

DurationText = Annotated[
    str,
    Field(pattern=r"^(0|[1-9][0-9]{0,8})(s|m|h|d|w)$", examples=["0s", "15m", "2d"]),
]
"""A length of time: a whole number and s, m (minutes), h, d or w."""

FrequencyText = Annotated[
    str,
    Field(pattern=r"^[1-9][0-9]{0,3}(m|h|d|w|mo)$", examples=["1m", "1h", "1d", "1mo"]),
]
"""A bar's length: a whole number and m (minutes), h, d, w (from Monday) or mo (calendar months)."""

NameText = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", examples=["sp500"])]
"""A name in a job: lower-case letters, digits and underscores, a letter first, 63 at most."""

ReferenceText = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]{0,62}\..{1,128}$", examples=["sp500.Close"]),
]
"""A column of a source: the source's name, a dot, the column's name."""

ColumnText = Annotated[str, Field(min_length=1, max_length=128)]
"""A column's name."""

TimeZoneText = Annotated[str, Field(min_length=1, max_length=64, examples=["UTC", "America/New_York"])]
"""A name of the IANA time zone database."""

UriText = Annotated[str, Field(min_length=1, max_length=2048)]
"""A location: a URI, or a path relative to the job file."""


def parse_duration(text: str) -> timedelta:
    """Return the length of a `DurationText`; raises ValueError for any other text."""
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in _SECONDS:
        raise ValueError(f"{text!r} is no duration such as 15m or 2d")
    return timedelta(seconds=int(number) * _SECONDS[unit])


FrequencyUnit = Literal["m", "h", "d", "w", "mo"]


@dataclass(frozen=True)
class Frequency:
    """A parsed `FrequencyText`: `count` times `unit`."""

    count: int
    unit: FrequencyUnit

    @property
    def approximate(self) -> timedelta:
        """The bar's length; a calendar month counts as 30 days."""
        days = 30 * self.count if self.unit == "mo" else 0
        seconds = _SECONDS.get(self.unit, 0) * self.count
        return timedelta(days=days, seconds=seconds)

    @property
    def intraday(self) -> bool:
        """Whether bars are shorter than a day."""
        return self.unit in ("m", "h") and self.approximate < timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


def parse_frequency(text: str) -> Frequency:
    """Return the parts of a `FrequencyText`; raises ValueError for any other text."""
    units: tuple[FrequencyUnit, ...] = ("mo", "m", "h", "d", "w")
    for unit in units:
        number = text.removesuffix(unit)
        if number != text and number.isdigit() and int(number) > 0:
            return Frequency(int(number), unit)
    raise ValueError(f"{text!r} is no frequency such as 1h, 1d or 1mo")
