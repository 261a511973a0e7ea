"""The pipeline: which component comes after which. At most four Pods come one after the other, beside the fan-out.

As the components, it has no `from __future__ import annotations`: kfp reads types that are no texts.
"""

from collections.abc import Callable

from kfp import dsl
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.pipeline_task import PipelineTask

from presage_pipelines import components

NAME = "presage"
TRAIN = "Train"
_RETRIES = 3
_FIRST_PAUSE = "10s"
# What kfp counts from the first attempt's start on: a step may have taken long before it lost its Pod.
_RETRIED_FOR = "21600s"


def make_pipeline(place: Callable[[PipelineTask, str], None]) -> BaseComponent:
    """Return the pipeline.

    Its parameters are `job` (a PredictionJob as JSON), `workdir` (a directory's path or s3://bucket/prefix), `as_of`
    (when it runs, UTC) and `cadence`: Train runs all steps, Forecast those that issue a forecast from the champion.
    Its output is how the run ended, JSON of `presage.spec.outcome`.

    Args:
        place: Says of a task, given with the name of its component, where it runs.
    """

    def task(made: PipelineTask, step: str, *, cached: bool = False) -> PipelineTask:
        made.set_retry(_RETRIES, backoff_duration=_FIRST_PAUSE, backoff_factor=2.0, backoff_max_duration=_RETRIED_FOR)
        made.set_caching_options(cached)
        place(made, step)
        return made

    @dsl.pipeline(name=NAME, description="Turns market data into an honest forecast.")
    def presage(job: str, workdir: str, as_of: str, cadence: str) -> str:
        data = task(components.ingest(job=job, workdir=workdir, as_of=as_of), "ingest").outputs["data"]
        given = {"job": job, "workdir": workdir, "data": data}
        issuing = {**given, "as_of": as_of}
        with dsl.If(cadence == TRAIN, name="train"):
            task(components.grade(**issuing), "grade")
            selected = task(components.select(**given), "select", cached=True)
            features = selected.outputs["features"]
            # kfp.local loops over outputs of this name only.
            with dsl.ParallelFor(selected.outputs["Output"], name="entrants") as entrant:
                walked = task(components.train(**given, entrant=entrant, features=features), "train", cached=True)
            walks = dsl.Collected(walked.outputs["walk"])
            promoted = task(components.promote(**issuing, features=features, walks=walks), "promote")
            trained = task(components.forecast(**issuing, run=promoted.outputs["run"]), "forecast")
        with dsl.Else(name="forecast"):
            issued = task(components.forecast(**issuing), "forecast")
            # Two steps that write cannot work at once, and the forecast is what is waited for.
            task(components.grade(**issuing), "grade").after(issued)
        return dsl.OneOf(trained.outputs["outcome"], issued.outputs["outcome"])

    return presage
