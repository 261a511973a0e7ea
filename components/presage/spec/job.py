"""The PredictionJob itself."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from presage.spec.base import ColumnText, FrequencyText, NameText, Rule, SpecModel
from presage.spec.evaluation import CLASSIFICATION_METRICS, Evaluation, Promotion
from presage.spec.features import Feature, Selection
from presage.spec.models import TASK_MODELS, Model
from presage.spec.operations import Engine, Monitoring, Resources, Retention, Schedule, Serving, Sink
from presage.spec.sources import SecretRef, Source

API_VERSION: Literal["presage.dev/v1alpha1"] = "presage.dev/v1alpha1"
KIND: Literal["PredictionJob"] = "PredictionJob"

TaskName = Literal["Forecast", "Regression", "Classification"]
TransformName = Literal["Level", "Difference", "PercentChange", "LogChange"]


class Target(SpecModel):
    """What to predict. Models may learn a change, but every forecast is stated and scored on the level."""

    source: NameText
    """Source that holds the target; its bars are the forecast origins."""
    column: ColumnText
    """Column to predict, or `range_volatility` for a source with high and low prices."""
    transform: TransformName = "Level"
    """What models learn: the level, or its change from the origin to the forecast period."""
    horizon: Annotated[int, Field(ge=1, le=1000)] = 1
    """Bars ahead; every bar up to it is forecast."""
    minimum: float | None = None
    """Value that the target cannot be below, such as 0 for a volatility; quantiles stop there. Default: none."""
    above: float | None = None
    """Classification: the class is 1 where the column is above this, else 0; default: the column holds 0 and 1."""
    relative_to: ColumnText | None = None
    """Classification: a column of the same source; `above` is then a share of it, such as 0.2 of the fare."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.horizon > 0", "horizon must be greater than 0", ".horizon"),)


class PredictionJobSpec(SpecModel):
    """What to predict, from which sources, and how it must prove itself."""

    task: TaskName = "Forecast"
    """Forecast predicts later bars; Regression and Classification predict a column of the same row."""
    frequency: FrequencyText
    """Length of a bar."""
    calendar: Literal["Auto", "Continuous", "Weekdays"] = "Auto"
    """Which bars exist: all, or those of Monday to Friday; Auto tells from the target's history."""
    target: Target
    """What to predict."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=64)]
    """Where data comes from."""
    features: Annotated[tuple[Feature, ...], Field(max_length=256)] = ()
    """What models see; default: the target's newest value and its means over 5 and 22 bars."""
    selection: Selection = Selection()
    """Which features training keeps."""
    models: Annotated[tuple[Model, ...], Field(min_length=1, max_length=64)] = (
        Model(name="ridge"),
        Model(name="xgboost"),
    )
    """Forecasters to train and judge."""
    evaluation: Evaluation = Evaluation()
    """How they are back-tested."""
    promotion: Promotion = Promotion()
    """What they must show."""
    serving: Serving = Serving()
    """How forecasts are served."""
    monitoring: Monitoring = Monitoring()
    """How they are watched."""
    schedule: Schedule = Schedule()
    """When the job runs again; default: it runs once."""
    engine: Engine = Engine()
    """What runs the tasks."""
    sinks: Annotated[tuple[Sink, ...], Field(max_length=32)] = ()
    """Where results also go."""
    resources: Resources = Resources()
    """What a step asks for on a cluster."""
    retention: Retention = Retention()
    """What is kept."""
    seed: Annotated[int, Field(ge=0, le=2147483647)] = 0
    """Seed of everything random in a run."""

    list_keys: ClassVar[dict[str, str]] = {"sources": "name", "models": "name", "sinks": "name"}
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.sources.exists(source, source.name == self.target.source)",
            "target.source must be the name of one of the sources",
            ".target.source",
        ),
        Rule(
            "self.evaluation.intervals.levels.exists(level, level == self.promotion.coverage.level)",
            "promotion.coverage.level must be one of evaluation.intervals.levels",
            ".promotion.coverage.level",
        ),
        Rule(
            f"(self.task == 'Classification') == (self.evaluation.metric in {list(CLASSIFICATION_METRICS)})",
            f"evaluation.metric must be {' or '.join(CLASSIFICATION_METRICS)} for task Classification, and only for it",
            ".evaluation.metric",
        ),
        *(
            Rule(
                f"self.task != '{task}' || self.models.all(model, model.name in {list(names)})",
                f"task {task} takes the models {', '.join(names)}",
                ".models",
            )
            for task, names in TASK_MODELS.items()
        ),
        Rule(
            "self.task != 'Forecast' || self.features.all(feature, !has(feature.columns))",
            "features.columns is for Regression and Classification",
            ".features",
        ),
        Rule(
            "self.task == 'Forecast' || (self.target.horizon == 1 && self.target.transform == 'Level')",
            "target.horizon must be 1 and target.transform Level for Regression and Classification",
            ".target",
        ),
        Rule(
            "self.task == 'Classification' || (!has(self.target.above) && !has(self.target.relativeTo))",
            "target.above and target.relativeTo are for task Classification",
            ".target",
        ),
    )

    @property
    def is_tabular(self) -> bool:
        """Whether rows are predicted from themselves (Regression, Classification), not later bars from earlier ones."""
        return self.task != "Forecast"

    @property
    def is_served(self) -> bool:
        """Whether a server answers for the job: of Regression and Classification this version serves none."""
        return self.serving.enabled and not self.is_tabular

    @property
    def secret_places(self) -> tuple[tuple[str, int, str, SecretRef], ...]:
        """Where its sources and sinks name Secrets: the list, the place in it, the kind, and the Secret."""
        kinds: list[tuple[str, int, str, SpecModel]] = [
            ("sources", number, source.kind, getattr(source, source.kind)) for number, source in enumerate(self.sources)
        ]
        for number, sink in enumerate(self.sinks):
            kinds += [("sinks", number, "sql", sink.sql)] if sink.sql else []
            kinds += [("sinks", number, "files", sink.files)] if sink.files else []
        found = []
        for group, number, kind, options in kinds:
            reference = getattr(options, "secret_ref", None)
            if isinstance(reference, SecretRef):
                found.append((group, number, kind, reference))
        return tuple(found)

    @property
    def secret_refs(self) -> tuple[SecretRef, ...]:
        """The Secrets that its sources and sinks name."""
        return tuple(reference for *_, reference in self.secret_places)

    def source(self, name: str) -> Source:
        """Return the source of this name; raises KeyError where there is none."""
        for source in self.sources:
            if source.name == name:
                return source
        raise KeyError(name)


class Metadata(SpecModel):
    """What the job is called."""

    name: Annotated[
        str,
        Field(
            max_length=53,
            pattern=r"^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$",
            examples=["sp500-volatility"],
            json_schema_extra={
                "patternErrorMessage": "lower-case letters, digits and dashes, 53 at most, no dash at either end"
            },
        ),
    ]
    """Lower-case letters, digits and dashes, 53 at most, so that children's names fit."""
    namespace: Annotated[
        str,
        Field(
            max_length=63,
            pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            json_schema_extra={
                "patternErrorMessage": "lower-case letters, digits and dashes, 63 at most, no dash at either end"
            },
        ),
    ] = "default"
    """Kubernetes namespace; on a laptop, a part of names only."""
    labels: Annotated[dict[str, str], Field(max_length=64)] = {}
    """Labels."""
    annotations: Annotated[dict[str, str], Field(max_length=64)] = {}
    """Annotations."""


class PredictionJob(SpecModel):
    """One file: what to predict, from which sources, and how it must prove itself."""

    api_version: Literal["presage.dev/v1alpha1"]
    """presage.dev/v1alpha1."""
    kind: Literal["PredictionJob"]
    """PredictionJob."""
    metadata: Metadata
    """What the job is called."""
    spec: PredictionJobSpec
    """The job itself."""
