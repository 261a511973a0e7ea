"""What must agree inside a job beyond the types: names that refer to each other, zones, schedules, lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from functools import cache
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import JsonValue

from presage.errors import Problem
from presage.spec.base import parse_frequency
from presage.spec.cron import parse_cron
from presage.spec.evaluation import CLASSIFICATION_METRICS
from presage.spec.faults import Fault
from presage.spec.job import PredictionJob, PredictionJobSpec
from presage.spec.models import TASK_MODELS
from presage.spec.places import Place, select
from presage.spec.references import reference_faults
from presage.spec.words import nearest, show

_FARTHEST = timedelta(days=100 * 365)
_NAMED = ("spec.sources", "spec.models", "spec.sinks")
_SETS = (
    "spec.features.*.*.columns",
    "spec.features.*.*.steps",
    "spec.features.*.*.periods",
    "spec.features.*.*.windows",
    "spec.features.*.*.spans",
    "spec.features.*.*.statistics",
    "spec.features.*.*.parts",
    "spec.features.*.*.sources",
    "spec.evaluation.intervals.levels",
    "spec.sources.*.exchange.symbols",
    "spec.sources.*.http.symbols",
)


def check_references(job: PredictionJob) -> list[Problem]:
    """Return what does not agree inside a job, without lines; nothing where all does.

    Looked at: names of sources, models and sinks are unique; the target and the features name declared sources, and
    columns that these keep; models and metric fit the task; the coverage to be held is one of the intervals' levels;
    time zones exist; schedules are cron's; the target's rows are no coarser than its bars; the horizon ends within a
    century; lists that stand for sets repeat nothing; addresses hold no credentials; no two secrets are the same
    variables.
    """
    content = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [fault.problem() for fault in (*document_faults(content), *relation_faults(job))]


def document_faults(content: JsonValue) -> Iterator[Fault]:
    """Give faults that can be told of any document, however wrong it is elsewhere."""
    for named in _NAMED:
        yield from _repeated(select(content, f"{named}.*.name"), "a name that no other entry of the list has")
    for place, entries in select(content, *_SETS):
        if isinstance(entries, list):
            yield from _repeated((((*place, number), entry) for number, entry in enumerate(entries)), "each entry once")
    yield from reference_faults(content)
    for patterns, fault in _LEAVES:
        for place, value in select(content, *patterns):
            if isinstance(value, str):
                yield from fault(place, value)


def relation_faults(job: PredictionJob) -> Iterator[Fault]:
    """Give faults between fields, which only a job whose fields are right by themselves can be asked for."""
    spec = job.spec
    yield from _secret_faults(spec)
    level, levels = spec.promotion.coverage.level, spec.evaluation.intervals.levels
    if level not in levels:
        allowed = f"one of evaluation.intervals.levels: {', '.join(map(str, levels))}"
        yield Fault(("spec", "promotion", "coverage", "level"), show(level), allowed)
    yield from _task_faults(spec)
    frequency = parse_frequency(spec.frequency)
    if frequency.approximate * spec.target.horizon > _FARTHEST:
        yield Fault(("spec", "target", "horizon"), show(spec.target.horizon), "a horizon that ends within a century")
    for number, source in enumerate(spec.sources):
        if source.name == spec.target.source and source.frequency is not None:
            rows = parse_frequency(source.frequency)
            if rows.approximate > frequency.approximate:
                allowed = f"the job's frequency, {frequency}, or a finer one: bars are made of finer rows, not coarser"
                yield Fault(("spec", "sources", number, "frequency"), show(source.frequency), allowed)


def _secret_faults(spec: PredictionJobSpec) -> Iterator[Fault]:
    """Give secrets of different names whose keys are the same variables: each would be sent where the other is."""
    names: dict[str, str] = {}
    for group, number, kind, reference in spec.secret_places:
        other = names.setdefault(reference.prefix, reference.name)
        if other != reference.name:
            allowed = f"a name whose variables do not start with {reference.prefix} as those of {other!r} do"
            yield Fault(("spec", group, number, kind, "secretRef", "name"), show(reference.name), allowed)


def _task_faults(spec: PredictionJobSpec) -> Iterator[Fault]:
    """Give what a job says that its task does not take."""
    metric, target = spec.evaluation.metric, spec.target
    if (metric in CLASSIFICATION_METRICS) != (spec.task == "Classification"):
        names = " or ".join(CLASSIFICATION_METRICS)
        allowed = names if spec.task == "Classification" else f"another metric: {names} is for task Classification"
        yield Fault(("spec", "evaluation", "metric"), show(metric), allowed)
    yield from _list_faults(spec)
    if spec.is_tabular and target.horizon != 1:
        yield Fault(("spec", "target", "horizon"), show(target.horizon), f"1 for task {spec.task}")
    if spec.is_tabular and target.transform != "Level":
        yield Fault(("spec", "target", "transform"), show(target.transform), f"Level for task {spec.task}")
    if spec.task != "Classification":
        for name, value in (("above", target.above), ("relativeTo", target.relative_to)):
            if value is not None:
                yield Fault(("spec", "target", name), show(value), "left out: it is for task Classification")


def _list_faults(spec: PredictionJobSpec) -> Iterator[Fault]:
    """Give the models and features that the job's task does not take."""
    taken = TASK_MODELS[spec.task]
    for number, model in enumerate(spec.models):
        if model.name not in taken:
            allowed = f"a model that task {spec.task} takes: {', '.join(taken)}"
            yield Fault(("spec", "models", number, "name"), show(model.name), allowed, nearest(model.name, taken))
    for number, feature in enumerate(spec.features):
        if feature.kind == "columns" and not spec.is_tabular:
            place = ("spec", "features", number, "columns")
            yield Fault(place, "values of the row itself", "left out: it is for Regression and Classification")


def _zone_fault(place: Place, value: str) -> Iterator[Fault]:
    try:
        ZoneInfo(value)
        known = value != "localtime"  # its meaning differs from machine to machine
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    if not known:
        allowed = "a name of the IANA time zone database, such as UTC or America/New_York"
        yield Fault(place, show(value), allowed, nearest(value, _zones()))


def _schedule_fault(place: Place, value: str) -> Iterator[Fault]:
    try:
        parse_cron(value)
    except ValueError as error:
        yield Fault(place, show(value), str(error))


def _day_fault(place: Place, value: str) -> Iterator[Fault]:
    try:
        date.fromisoformat(value)
    except ValueError:
        yield Fault(place, show(value), "a day such as 2015-01-01")


def _address_fault(place: Place, value: str) -> Iterator[Fault]:
    try:
        holds_credentials = "@" in urlsplit(value).netloc
    except ValueError:
        yield Fault(place, show(value), "a URI or a path")
    else:
        if holds_credentials:
            yield Fault(place, "an address with credentials", "an address without; secretRef names a Secret for them")


_LEAVES: tuple[tuple[tuple[str, ...], Callable[[Place, str], Iterator[Fault]]], ...] = (
    (("spec.sources.*.timeZone", "spec.schedule.*.timeZone"), _zone_fault),
    (("spec.schedule.*.schedule",), _schedule_fault),
    (("spec.sources.*.exchange.since", "spec.sources.*.http.since"), _day_fault),
    (
        (
            "spec.sources.*.*.uri",
            "spec.sources.*.*.url",
            "spec.sources.*.*.endpoint",
            "spec.sinks.*.*.uri",
            "spec.engine.address",
        ),
        _address_fault,
    ),
)


def _repeated(entries: Iterable[tuple[Place, JsonValue]], allowed: str) -> Iterator[Fault]:
    seen: list[JsonValue] = []
    for place, value in entries:
        if value in seen:
            yield Fault(place, f"{show(value)} a second time", allowed)
        seen.append(value)


@cache
def _zones() -> tuple[str, ...]:
    return tuple(sorted(available_timezones() - {"localtime"}))
