"""Runs as pipeline runs of Kubeflow Pipelines, through its REST API (v2beta1), for one job's runs at a time.

The API gives a run a new id each time and knows no labels: what a child's labels and annotations would say stands in
the run's description, and the deterministic name of the run in its display name. Of several runs of one name the first
is the run, and the others are removed: two operators that act at once still make one.

A multi-user Kubeflow runs a job's steps in the job's namespace: that of the experiment, which is made there. A
single-user one has one namespace for all.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Set
from typing import Literal, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from presage.errors import StopError
from presage.spec.job import PredictionJob
from presage.spec.job_text import job_text
from presage_operator.actions import StartRun
from presage_operator.desired.lake import workdir
from presage_operator.desired.pipeline import pipeline_of, reach_fault
from presage_operator.desired.run import as_of_text
from presage_operator.errors import HinderedError, JsonObject
from presage_operator.names import Key
from presage_operator.pipeline_run import (
    Description,
    ExperimentPage,
    Health,
    ListedExperiment,
    PipelineRun,
    RunPage,
    pipeline_run,
)
from presage_operator.settings import Settings

EXPERIMENT = "presage"
"""The experiment of all runs; a multi-user Kubeflow has one in each namespace with jobs."""

Answer = TypeVar("Answer", bound=BaseModel)

_HEALTH = "/apis/v2beta1/healthz"
_EXPERIMENTS = "/apis/v2beta1/experiments"
_RUNS = "/apis/v2beta1/runs"
_PAGE_SIZE = 100
_MOST_PAGES = 100
_TIMEOUT_SECONDS = 10.0
_LONGEST_MESSAGE = 1000


class KubeflowUnavailableError(HinderedError):
    """Kubeflow Pipelines does not answer, or says that it cannot now."""

    reason = "KubeflowUnavailable"


class KubeflowRefusedError(StopError):
    """Kubeflow Pipelines says that the request is wrong."""


class OutOfReachError(HinderedError):
    """A job's steps would not reach in Kubeflow what they need."""

    reason = "OutOfReach"


class PipelineRuns:
    """The runs of jobs in Kubeflow Pipelines. Each call is bounded in time; none is repeated here.

    Args:
        session: HTTP client; the caller closes it.
        endpoint: Address of the API.
        pipeline: Compiled pipeline, of `presage_operator.compiled.load_pipeline`.
        settings: The operator's configuration.
        timeout_seconds: Longest that one request may take.

    Raises:
        KubeflowUnavailableError: By every method: there is no answer, or one of 429 or 5xx, or one that means nothing.
        KubeflowRefusedError: By every method: the API refuses the request.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: str,
        pipeline: JsonObject,
        settings: Settings,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/")
        self._pipeline = pipeline
        self._settings = settings
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._multi_user: bool | None = None

    async def create(self, job: PredictionJob, start: StartRun) -> PipelineRun:
        """Start a run, unless there is one of this name: then that one is returned.

        Raises:
            OutOfReachError: The job's steps would not reach what they need.
        """
        home = job.metadata.namespace
        scope = await self._scope(home)
        if found := await self._named(start.name, start.uid, scope):
            return found[0]
        kubeflow = self._settings.pipelines.kubeflow
        fault = reach_fault(job, self._settings, namespace=scope.get("namespace", kubeflow.namespace))
        if fault is not None:
            raise OutOfReachError(fault.message)
        parameters: JsonObject = {
            "job": job_text(job),
            "workdir": workdir(job, self._settings),
            "as_of": as_of_text(start.as_of),
            "cadence": start.cadence,
        }
        body: JsonObject = {
            "display_name": start.name,
            "description": Description.model_validate(start).model_dump_json(exclude_none=True),
            "experiment_id": await self._experiment(scope),
            "pipeline_spec": pipeline_of(self._pipeline, job, start, self._settings),
            "runtime_config": {"parameters": parameters},
        }
        if kubeflow.service_account_name is not None:
            body["service_account"] = kubeflow.service_account_name
        await self._send("POST", _RUNS, body=body)
        found = await self._named(start.name, start.uid, scope)
        if not found:
            raise self._unavailable(f"it took the run {start.name} and does not list it")
        for other in found[1:]:
            await self.remove(other)
        return found[0]

    async def runs(self, job: Key, uid: str) -> tuple[PipelineRun, ...]:
        """Return the runs of a job, the oldest first; of each name the first."""
        by_name: dict[str, PipelineRun] = {}
        for each in await self._of(job, uid):
            by_name.setdefault(each.run.name, each)
        return tuple(by_name.values())

    async def terminate(self, run_id: str) -> None:
        """Ask for a run to end; one that has ended, or is not there, is left alone."""
        # Whether a run that the API refuses to end has ended shows in the next list.
        with contextlib.suppress(KubeflowRefusedError):
            await self._send("POST", f"{_RUNS}/{run_id}:terminate")

    async def delete(self, run_id: str) -> None:
        """Delete a run, ended or not; one that is not there is left alone."""
        await self._send("DELETE", f"{_RUNS}/{run_id}", fine={404})

    async def remove(self, each: PipelineRun) -> None:
        """End a run, where it goes on, and delete it."""
        if each.run.completed_at is None:
            await self.terminate(each.id)
        await self.delete(each.id)

    async def cancel(self, job: Key, uid: str) -> None:
        """End and delete all runs of a job that goes."""
        for each in await self._of(job, uid):
            await self.remove(each)

    async def _of(self, job: Key, uid: str) -> list[PipelineRun]:
        return await self._list("IS_SUBSTRING", f"{job.name}-", uid, await self._scope(job.namespace))

    async def _named(self, name: str, uid: str, scope: Mapping[str, str]) -> list[PipelineRun]:
        return await self._list("EQUALS", name, uid, scope)

    async def _list(
        self, operation: Literal["EQUALS", "IS_SUBSTRING"], text: str, uid: str, scope: Mapping[str, str]
    ) -> list[PipelineRun]:
        query = _query(operation, text, scope)
        found: list[PipelineRun] = []
        for _ in range(_MOST_PAGES):
            page = self._read(RunPage, await self._send("GET", _RUNS, query=query), "its list of runs")
            found += [run for run in (pipeline_run(each, uid) for each in page.runs) if run is not None]
            if not page.next_page_token:
                break
            query["page_token"] = page.next_page_token
        else:
            raise self._unavailable(f"its list of runs has more than {_MOST_PAGES} pages")
        # Two operators that look at the same runs must choose the same one.
        return sorted(found, key=lambda each: (each.run.created_at, each.id))

    async def _scope(self, namespace: str) -> dict[str, str]:
        """Return what bounds a request to a namespace: nothing in a single-user Kubeflow, which refuses it."""
        if self._multi_user is None:
            health = self._read(Health, await self._send("GET", _HEALTH), "what it tells of itself")
            self._multi_user = health.multi_user
        return {"namespace": namespace} if self._multi_user else {}

    async def _experiment(self, scope: Mapping[str, str]) -> str:
        """Return the id of the experiment, which is made where there is none."""
        found = await self._experiments(scope)
        if not found:
            # Another operator may be quicker: names are taken once.
            await self._send("POST", _EXPERIMENTS, body={"display_name": EXPERIMENT, **scope}, fine={409})
            found = await self._experiments(scope)
        if not found:
            raise self._unavailable(f"it took the experiment {EXPERIMENT} and does not list it")
        return min(found, key=lambda each: (each.created_at, each.experiment_id)).experiment_id

    async def _experiments(self, scope: Mapping[str, str]) -> tuple[ListedExperiment, ...]:
        answer = await self._send("GET", _EXPERIMENTS, query=_query("EQUALS", EXPERIMENT, scope))
        return self._read(ExperimentPage, answer, "its list of experiments").experiments

    def _read(self, type_: type[Answer], content: bytes, what: str) -> Answer:
        try:
            return type_.model_validate_json(content or b"{}")
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "the answer"
            raise self._unavailable(f"{what} means nothing ({where}: {fault['msg']})") from error

    async def _send(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        fine: Set[int] = frozenset(),
    ) -> bytes:
        try:
            async with self._session.request(
                method,
                self._endpoint + path,
                params=query,
                json=body,
                headers=self._headers(),
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                code, content = response.status, await response.read()
        except TimeoutError as error:
            raise self._unavailable("it does not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        if code < 300 or code in fine:
            return content
        said = f"{code}: {_message(content)}"
        if code == 429 or code >= 500 or code < 400:
            raise self._unavailable(said)
        raise KubeflowRefusedError(
            f"Kubeflow Pipelines at {self._endpoint} refused {method} {path}: {said}.",
            "Mend pipelines.kubeflow, or what the message names.",
        )

    def _headers(self) -> dict[str, str]:
        path = self._settings.pipelines.kubeflow.token_file
        if path is None:
            return {}
        try:
            # Kubernetes puts a new token in its place before the old one ends.
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._unavailable(f"the token in {path} cannot be read") from error
        return {"Authorization": f"Bearer {token}"}

    def _unavailable(self, why: str) -> KubeflowUnavailableError:
        return KubeflowUnavailableError(
            f"Kubeflow Pipelines at {self._endpoint}: {why}.", "Look whether its API runs and may be reached."
        )


def _query(operation: Literal["EQUALS", "IS_SUBSTRING"], text: str, scope: Mapping[str, str]) -> dict[str, str]:
    predicate = {"operation": operation, "key": "display_name", "stringValue": text}
    return {
        "filter": json.dumps({"predicates": [predicate]}),
        "page_size": str(_PAGE_SIZE),
        "sort_by": "created_at",
        **scope,
    }


def _message(content: bytes) -> str:
    """Return what the API says of a failure: the field `message` of JSON, else the text."""
    text = content[: 4 * _LONGEST_MESSAGE].decode(errors="replace")
    with contextlib.suppress(ValueError):
        answer = json.loads(text)
        if isinstance(answer, dict) and isinstance(answer.get("message"), str):
            text = answer["message"]
    return " ".join(text.split())[:_LONGEST_MESSAGE] or "no message"
