"""What serves a job, by whichever back end; KServe's types are loaded only where they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Literal, Protocol, cast

from presage.spec.job import PredictionJob
from presage_operator.desired.metadata import digest_of
from presage_operator.desired.server import server_objects
from presage_operator.errors import JsonObject
from presage_operator.settings import Settings

ServingBackend = Literal["deployment", "kserve"]


class _Kserve(Protocol):
    def inference_service(self, job: PredictionJob, *, uid: str, run: str, settings: Settings) -> JsonObject: ...


def serving_objects(
    backend: ServingBackend, job: PredictionJob, *, uid: str, run: str, settings: Settings
) -> tuple[JsonObject, ...]:
    """Return the objects that serve a run of the job's lake.

    Raises:
        MissingExtraError: The back end is kserve, and KServe's types are not installed.
    """
    if backend == "deployment":
        return server_objects(job, uid=uid, run=run, settings=settings)
    module = cast(_Kserve, import_module("presage_operator.desired.inference_service"))
    return (module.inference_service(job, uid=uid, run=run, settings=settings),)


def kinds_and_digest(objects: Sequence[JsonObject]) -> tuple[frozenset[str], str]:
    """Return the kinds of the objects, and the digest that each of them carries."""
    return frozenset(str(each["kind"]) for each in objects), digest_of(objects)
