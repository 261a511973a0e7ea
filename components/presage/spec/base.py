"""The base of every PredictionJob type: frozen, unknown fields forbidden, camelCase in the file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


class Rule(NamedTuple):
    """A CEL rule that the API server enforces on admission; validators of the same type enforce it on a laptop."""

    rule: str
    message: str
    field_path: str = ""
    """The field at fault, such as `.target.source`; empty for the object itself."""


class SpecModel(BaseModel):
    """A frozen value of the job file.

    A type says in class variables what annotations cannot, and its JSON Schema carries that in Kubernetes' own words:

    Attributes:
        rules: Rules between fields.
        one_of: Fields of which exactly one must be given.
        list_keys: By list field, the field by which its entries are told apart.
        preserve_unknown: Fields whose content the API server does not judge.
    """

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
    one_of: ClassVar[tuple[str, ...]] = ()
    list_keys: ClassVar[dict[str, str]] = {}
    preserve_unknown: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def all_rules(cls) -> tuple[Rule, ...]:
        """Return the rules with the one that `one_of` stands for."""
        if not cls.one_of:
            return cls.rules
        names = [to_camel(name) for name in cls.one_of]
        given = ", ".join(f"has(self.{name})" for name in names)
        rule = Rule(f"[{given}].filter(given, given).size() == 1", f"exactly one of {', '.join(names)} is allowed")
        return (*cls.rules, rule)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [to_camel(name) for name in self.one_of if getattr(self, name) is not None]
        if self.one_of and len(given) != 1:
            names = ", ".join(to_camel(name) for name in self.one_of)
            raise PydanticCustomError("one_of", "exactly one of {names}", {"names": names})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        if cls.one_of:
            schema["oneOf"] = [{"required": [to_camel(name)]} for name in cls.one_of]
        if rules := cls.all_rules():
            schema["x-kubernetes-validations"] = [
                {"rule": rule, "message": message} | ({"fieldPath": field_path} if field_path else {})
                for rule, message, field_path in rules
            ]
        for name, key in cls.list_keys.items():
            schema["properties"][to_camel(name)] |= {
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": [key],
            }
        for name in cls.preserve_unknown:
            schema["properties"][to_camel(name)]["x-kubernetes-preserve-unknown-fields"] = True
        return reference


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

DurationText = Annotated[
    str,
    Field(
        max_length=6,
        pattern=r"^(0|[1-9][0-9]{0,4})(s|m|h|d|w)$",
        examples=["0s", "15m", "2d"],
        json_schema_extra={"patternErrorMessage": "a length of time: a whole number and s, m, h, d or w, such as 15m"},
    ),
]
"""A length of time: a whole number and s, m (minutes), h, d or w."""

FrequencyText = Annotated[
    str,
    Field(
        max_length=6,
        pattern=r"^[1-9][0-9]{0,3}(m|h|d|w|mo)$",
        examples=["1m", "1h", "1d", "1mo"],
        json_schema_extra={
            "patternErrorMessage": "a bar's length: a whole number from 1 and m (minutes), h, d, w or mo (months), "
            "such as 1d"
        },
    ),
]
"""A bar's length: a whole number and m (minutes), h, d, w (from Monday) or mo (calendar months)."""

NameText = Annotated[
    str,
    Field(
        max_length=63,
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        examples=["sp500"],
        json_schema_extra={
            "patternErrorMessage": "a name: lower-case letters, digits and underscores, a letter first, 63 at most"
        },
    ),
]
"""A name in a job: lower-case letters, digits and underscores, a letter first, 63 at most."""

ReferenceText = Annotated[
    str,
    Field(
        max_length=192,
        pattern=r"^[a-z][a-z0-9_]{0,62}\..{1,128}$",
        examples=["sp500.Close"],
        json_schema_extra={
            "patternErrorMessage": "a column of a source: the source's name, a dot, the column's name, "
            "such as sp500.Close"
        },
    ),
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
