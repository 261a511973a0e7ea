"""What a run would do, told from the job file alone."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from presage.evaluation.significance import required_origins
from presage.spec.digest import procedure_digest, spec_digest
from presage.spec.features import Feature
from presage.spec.job import PredictionJob
from presage.spec.sources import Source


class PlannedSource(BaseModel):
    """A source of the plan."""

    model_config = ConfigDict(frozen=True)

    name: str
    location: str
    frequency: str
    known: str
    """When a row is known."""


class Plan(BaseModel):
    """What a run would do."""

    model_config = ConfigDict(frozen=True)

    job: str
    namespace: str
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
    target = spec.target
    evaluation = spec.evaluation
    promotion = spec.promotion
    needed = required_origins(promotion.significance, promotion.power, promotion.effect_size)
    embargo = f", {evaluation.embargo} bars of embargo" if evaluation.embargo else ""
    return Plan(
        job=job.metadata.name,
        namespace=job.metadata.namespace,
        target=f"{target.source}.{target.column}, learnt as {target.transform}, {_bars(target.horizon)} ahead",
        sources=tuple(_source(source, spec.frequency) for source in spec.sources),
        features=tuple(_feature(feature) for feature in spec.features)
        or (f"default: {target.source}.{target.column}: newest value, means over 5 and 22 bars",),
        models=tuple(model.name for model in spec.models),
        evaluation=f"{evaluation.folds} folds, {evaluation.window} window{embargo}, judged by {evaluation.metric}",
        promotion=f"{promotion.policy}: significance {promotion.significance:g}, {needed} independent origins needed, "
        f"{promotion.coverage.level:.0%} interval must hold",
        spec_digest=spec_digest(job),
        procedure_digest=procedure_digest(job),
    )


def print_plan(made: Plan, console: Console) -> None:
    """Print a plan as tables."""
    console.print(f"Plan of {made.namespace}/{made.job}: nothing is read or written.\n", markup=False)
    sources = Table("source", "location", "bars", "known", title="Sources", title_justify="left", expand=False)
    for column in sources.columns:
        column.overflow = "fold"
    for source in made.sources:
        sources.add_row(*map(Text, (source.name, source.location, source.frequency, source.known)))
    console.print(sources)
    steps = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    steps.add_column(no_wrap=True)
    steps.add_column(overflow="fold")
    steps.add_row("target", Text(made.target))
    for place, feature in enumerate(made.features):
        steps.add_row("features" if place == 0 else "", Text(feature))
    steps.add_row("models", ", ".join(made.models) + ", and always the baselines")
    steps.add_row("evaluation", made.evaluation)
    steps.add_row("promotion", made.promotion)
    console.print(steps)
    # A digest is copied whole: it stands on a line of its own, which is never broken.
    for name, digest in (("spec", made.spec_digest), ("procedure", made.procedure_digest)):
        console.print(f"{name}\n  {digest}", markup=False, soft_wrap=True)


def _bars(count: int) -> str:
    return "1 bar" if count == 1 else f"{count} bars"


def _source(source: Source, frequency: str) -> PlannedSource:
    kind = getattr(source, source.kind)
    place = next(
        (getattr(kind, field) for field in ("name", "uri", "url") if getattr(kind, field, None)),
        "",
    )
    known = f"{source.availability.lag} after the bar's end"
    if source.availability.column:
        known = f"as column {source.availability.column} says"
    return PlannedSource(
        name=source.name, location=f"{source.kind} {place}", frequency=source.frequency or frequency, known=known
    )


def _feature(feature: Feature) -> str:
    content = getattr(feature, feature.kind).model_dump(mode="json")
    words = "; ".join(
        f"{name} {', '.join(str(part) for part in value) if isinstance(value, list) else value}"
        for name, value in content.items()
    )
    return f"{feature.kind.replace('_', ' ')}: {words}"
