"""The pipeline's components: thin functions whose source goes into the compiled pipeline, and which call the package.

kfp reads the types of their arguments, not texts of them: this module has no `from __future__ import annotations`. A
component is read by itself, so it imports inside, and its one step under the name that it has itself.
"""

from typing import List, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

# The pipeline gives each task its own.
_IMAGE = "presage/steps"


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def ingest(job: str, workdir: str, as_of: str, dataset: Output[Dataset]) -> NamedTuple("Outputs", [("data", str)]):
    """Read the job's sources into the lake; `data` pins what the later steps work on."""
    from pathlib import Path

    from presage_pipelines.ended import step

    with step():
        from presage_pipelines.steps.ingest import ingest

        found = ingest(job, workdir, as_of, dataset=Path(dataset.path))
        dataset.metadata.update({"rows": found.rows, "digest": found.digest, "sources": found.sources})
        return (found.data,)


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def grade(job: str, workdir: str, data: str, as_of: str, grades: Output[Dataset], metrics: Output[Metrics]) -> None:
    """Join the forecasts that were issued with what came since."""
    from pathlib import Path

    from presage_pipelines.ended import step

    with step():
        from presage_pipelines.steps.grade import grade

        for name, value in grade(job, workdir, data, as_of, grades=Path(grades.path)).items():
            metrics.log_metric(name, value)


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def select(job: str, workdir: str, data: str, features: Output[Artifact]) -> List[str]:
    """Say what each fold keeps of the features, and who takes part."""
    from pathlib import Path

    from presage_pipelines.ended import step

    with step():
        from presage_pipelines.steps.walk import select

        return select(job, workdir, data, features=Path(features.path))


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def train(job: str, workdir: str, data: str, entrant: str, features: Input[Artifact], walk: Output[Artifact]) -> None:
    """Walk one entrant forward over all folds."""
    from pathlib import Path

    from presage_pipelines.ended import step

    with step():
        from presage_pipelines.steps.walk import train

        train(job, workdir, data, entrant, features=Path(features.path), walk=Path(walk.path))
        walk.metadata["entrant"] = entrant


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def promote(
    job: str,
    workdir: str,
    data: str,
    as_of: str,
    features: Input[Artifact],
    walks: Input[List[Artifact]],
    metrics: Output[Metrics],
    classification: Output[ClassificationMetrics],
    report: Output[HTML],
    model: Output[Model],
) -> NamedTuple("Outputs", [("run", str), ("digest", str)]):
    """Judge all entrants, keep the run, and promote its champion or not."""
    from pathlib import Path

    from presage_pipelines.ended import step

    with step():
        from presage_pipelines import shown
        from presage_pipelines.steps.promote import promote

        done = promote(
            job,
            workdir,
            data,
            as_of,
            features=Path(features.path),
            walks=[Path(walk.path) for walk in walks],
            report=Path(report.path),
            model=Path(model.path),
        )
        for name, value in shown.metrics(done.summary.scorecard).items():
            metrics.log_metric(name, value)
        model.metadata.update(shown.model(done.summary))
        if done.ranking is not None:
            classification.log_roc_curve(done.ranking.missed, done.ranking.found, done.ranking.thresholds)
            classification.log_confusion_matrix(list(shown.CLASSES), done.ranking.confusion)
        return done.summary.run, done.summary.digest


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def forecast(job: str, workdir: str, data: str, as_of: str, issued: Output[Dataset], run: str = "") -> NamedTuple(
    "Outputs", [("outcome", str)]
):
    """Issue the champion's next forecast; `outcome` says how the run ended."""
    from pathlib import Path

    from presage_pipelines.ended import step

    with step() as told:
        from presage.spec.outcome import to_message
        from presage_pipelines.steps.forecast import forecast

        outcome = forecast(job, workdir, data, as_of, run, issued=Path(issued.path))
        told.append(outcome)
        return (to_message(outcome).decode(),)
