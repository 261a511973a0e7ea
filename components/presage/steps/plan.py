"""What a run would do, told from the job file alone."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from presage.evaluation.significance import required_origins
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.features import Feature
from presage.spec.job import PredictionJob, PredictionJobSpec, TaskName
from presage.spec.sources import Source
from presage.tabular.observations import made_of


class PlannedSource(BaseModel):
    """A source of the plan."""

    model_config = ConfigDict(frozen=True)

    name: str
    location: str
    frequency: str | None
    """Length of a row's period; None for a source whose rows are predicted from themselves."""
    known: str
    """When a row is known, or of a row that is predicted from itself its outcome."""


class Plan(BaseModel):
    """What a run would do."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
    task: TaskName
    target: str
    sources: tuple[PlannedSource, ...]
    features: tuple[str, ...]
    models: tuple[str, ...]
    evaluation: str
    promotion: str
    spec_digest: str
    procedure_digest: str


def plan(job: PredictionJob) -> Plan:
    """Return what a run of the job would do; no data is read."""
    spec = job.spec
    words = _row_words(spec) if spec.is_tabular else _bar_words(spec)
    return Plan(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        task=spec.task,
        target=words.target,
        sources=tuple(_source(source, None if spec.is_tabular else spec.frequency) for source in spec.sources),
        features=tuple(_feature(feature) for feature in spec.features) or (words.features,),
        models=tuple(model.name for model in spec.models),
        evaluation=words.evaluation,
        promotion=words.promotion,
        spec_digest=spec_digest(job),
        procedure_digest=procedure_digest(job),
    )


def print_plan(made: Plan, console: Console) -> None:
    """Print a plan as tables."""
    console.print(f"Plan of {made.namespace}/{made.job}: nothing is read or written.\n", markup=False)
    tabular = made.task != "Forecast"
    names = ("source", "location", "outcome known") if tabular else ("source", "location", "bars", "known")
    sources = Table(*names, title="Sources", title_justify="left", expand=False)
    for column in sources.columns:
        column.overflow = "fold"
    for source in made.sources:
        cells = (source.name, source.location, source.frequency, source.known)
        sources.add_row(*(Text(cell) for cell in cells if cell is not None))
    console.print(sources)
    steps = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    steps.add_column(no_wrap=True)
    steps.add_column(overflow="fold")
    steps.add_row("target", Text(made.target))
    for place, feature in enumerate(made.features):
        steps.add_row("features" if place == 0 else "", Text(feature))
    baselines = {"Forecast": "baselines", "Regression": "median", "Classification": "prevalence"}
    steps.add_row("models", f"{', '.join(made.models)}, and always the {baselines[made.task]}")
    steps.add_row("evaluation", made.evaluation)
    steps.add_row("promotion", made.promotion)
    console.print(steps)
    # A digest is copied whole: it stands on a line of its own, which is never broken.
    for name, digest in (("spec", made.spec_digest), ("procedure", made.procedure_digest)):
        console.print(f"{name}\n  {digest}", markup=False, soft_wrap=True)


@dataclass(frozen=True)
class _Words:
    """What differs between the plan of a job over bars and of one over rows."""

    target: str
    features: str
    evaluation: str
    promotion: str


def _bar_words(spec: PredictionJobSpec) -> _Words:
    target, evaluation, promotion = spec.target, spec.evaluation, spec.promotion
    column = f"{target.source}.{target.column}"
    horizon = "1 bar" if target.horizon == 1 else f"{target.horizon} bars"
    embargo = f", {evaluation.embargo} bars of embargo" if evaluation.embargo else ""
    return _Words(
        target=f"{column}, learnt as {target.transform}, {horizon} ahead",
        features=f"default: {column}: newest value, means over 5 and 22 bars",
        evaluation=f"{evaluation.folds} folds, {evaluation.window} window{embargo}, judged by {evaluation.metric}",
        promotion=f"{_gate(spec)} independent origins needed, {promotion.coverage.level:.0%} interval must hold",
    )


def _row_words(spec: PredictionJobSpec) -> _Words:
    evaluation, promotion = spec.evaluation, spec.promotion
    embargo = f", {evaluation.embargo} rows of embargo" if evaluation.embargo else ""
    interval = "" if spec.task == "Classification" else f", {promotion.coverage.level:.0%} interval must hold"
    return _Words(
        target=f"{made_of(spec)}, a {spec.task}: a row is predicted from itself",
        features=f"default: all columns of {spec.target.source} that do not tell the target",
        evaluation=f"{evaluation.folds} folds of rows, by whole periods of {spec.frequency}, {evaluation.window} "
        f"window{embargo}, judged by {evaluation.metric}, averaged by {spec.frequency}",
        promotion=f"{_gate(spec)} independent periods of {spec.frequency} needed{interval}",
    )


def _gate(spec: PredictionJobSpec) -> str:
    promotion = spec.promotion
    needed = required_origins(promotion.significance, promotion.power, promotion.effect_size)
    return f"{promotion.policy}: significance {promotion.significance:g}, {needed}"


def _source(source: Source, frequency: str | None) -> PlannedSource:
    """Return a source of the plan; `frequency` is the job's, None where rows are predicted from themselves."""
    kind = getattr(source, source.kind)
    place = next(
        (getattr(kind, field) for field in ("name", "uri", "url") if getattr(kind, field, None)),
        "",
    )
    since = "its time" if frequency is None else "the bar's end"
    known = f"{source.availability.lag} after {since}"
    if source.availability.column:
        known = f"as column {source.availability.column} says"
    return PlannedSource(
        name=source.name,
        location=f"{source.kind} {place}",
        frequency=None if frequency is None else source.frequency or frequency,
        known=known,
    )


def _feature(feature: Feature) -> str:
    content = getattr(feature, feature.kind).model_dump(mode="json")
    words = "; ".join(
        f"{name} {', '.join(str(part) for part in value) if isinstance(value, list) else value}"
        for name, value in content.items()
    )
    return f"{feature.kind.replace('_', ' ')}: {words}"
