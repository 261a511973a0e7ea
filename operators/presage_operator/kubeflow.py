"""Runs as pipeline runs of Kubeflow Pipelines, through its REST API (v2beta1), for one job's runs at a time.

The API gives a run a new id each time and knows no labels: what a child's labels and annotations would say stands in
the run's description, and the deterministic name of the run in its display name. Of several runs of one name the first
is the run, and the others are removed: two operators that act at once still make one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import aiohttp
import yaml
from pydantic import ValidationError

from presage.errors import JobError, RetryError, StopError
from presage.spec.job import PredictionJob
from presage_operator.actions import StartRun
from presage_operator.desired.job_file import job_file
from presage_operator.desired.lake import workdir
from presage_operator.desired.run import as_of_text
from presage_operator.errors import JsonObject
from presage_operator.pipeline_run import Description, Page, PipelineRun, pipeline_run
from presage_operator.settings import Settings

_RUNS = "/apis/v2beta1/runs"
_PAGE_SIZE = 100
_MOST_PAGES = 100
_TIMEOUT_SECONDS = 10.0
_LONGEST_MESSAGE = 1000


class KubeflowUnavailableError(RetryError):
    """Kubeflow Pipelines does not answer, or says that it cannot now."""


class KubeflowRefusedError(StopError):
    """Kubeflow Pipelines says that the request is wrong."""


def load_pipeline(path: Path) -> JsonObject:
    """Return a compiled pipeline, in the form in which a run carries it.

    Raises:
        JobError: The file cannot be read, or is no compiled pipeline.
    """
    remedy = "Name a pipeline that the kfp compiler wrote in pipelines.kubeflow.package."
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error.strerror}.", remedy) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise JobError(f"{path} is not YAML: {error}.", remedy) from error
    match documents:
        case [{"pipelineInfo": _, "root": _} as pipeline]:
            return dict(pipeline)
        case [{"pipelineInfo": _, "root": _} as pipeline, {"platforms": _} as platform]:
            return {"pipeline_spec": pipeline, "platform_spec": platform}
    raise JobError(f"{path} is no compiled pipeline.", remedy)


class PipelineRuns:
    """The runs of jobs in Kubeflow Pipelines. Each call is bounded in time; none is repeated here.

    Args:
        session: HTTP client; the caller closes it.
        endpoint: Address of the API.
        pipeline: Compiled pipeline.
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

    async def create(self, job: PredictionJob, start: StartRun) -> PipelineRun:
        """Start a run, unless there is one of this name: then that one is returned."""
        if found := await self._named(start.name, start.uid):
            return found[0]
        parameters: JsonObject = {
            "job": job_file(job),
            "workdir": workdir(job, self._settings),
            "as_of": as_of_text(start.as_of),
            "cadence": start.cadence,
        }
        body: JsonObject = {
            "display_name": start.name,
            "description": Description.model_validate(start).model_dump_json(exclude_none=True),
            "pipeline_spec": self._pipeline,
            "runtime_config": {"parameters": parameters},
            "service_account": self._settings.service_account_name,
        }
        await self._send("POST", _RUNS, body=body)
        found = await self._named(start.name, start.uid)
        if not found:
            raise self._unavailable(f"it took the run {start.name} and does not list it")
        for other in found[1:]:
            await self.remove(other)
        return found[0]

    async def runs(self, job: str, uid: str) -> tuple[PipelineRun, ...]:
        """Return the runs of a job, the oldest first; of each name the first."""
        by_name: dict[str, PipelineRun] = {}
        for each in await self._list("IS_SUBSTRING", f"{job}-", uid):
            by_name.setdefault(each.run.name, each)
        return tuple(by_name.values())

    async def terminate(self, run_id: str) -> None:
        """Ask for a run to end; one that has ended, or is not there, is left alone."""
        # Whether a run that the API refuses to end has ended shows in the next list.
        with contextlib.suppress(KubeflowRefusedError):
            await self._send("POST", f"{_RUNS}/{run_id}:terminate")

    async def delete(self, run_id: str) -> None:
        """Delete a run, ended or not; one that is not there is left alone."""
        await self._send("DELETE", f"{_RUNS}/{run_id}", absent_is_fine=True)

    async def remove(self, each: PipelineRun) -> None:
        """End a run, where it goes on, and delete it."""
        if each.run.completed_at is None:
            await self.terminate(each.id)
        await self.delete(each.id)

    async def cancel(self, job: str, uid: str) -> None:
        """End and delete all runs of a job that goes."""
        for each in await self._list("IS_SUBSTRING", f"{job}-", uid):
            await self.remove(each)

    async def _named(self, name: str, uid: str) -> list[PipelineRun]:
        return await self._list("EQUALS", name, uid)

    async def _list(self, operation: Literal["EQUALS", "IS_SUBSTRING"], text: str, uid: str) -> list[PipelineRun]:
        predicate = {"operation": operation, "key": "display_name", "stringValue": text}
        query = {
            "filter": json.dumps({"predicates": [predicate]}),
            "page_size": str(_PAGE_SIZE),
            "sort_by": "created_at",
        }
        found: list[PipelineRun] = []
        for _ in range(_MOST_PAGES):
            answer = await self._send("GET", _RUNS, query=query)
            try:
                page = Page.model_validate_json(answer or b"{}")
            except ValidationError as error:
                fault = error.errors()[0]
                where = ".".join(map(str, fault["loc"])) or "the answer"
                raise self._unavailable(f"its list of runs means nothing ({where}: {fault['msg']})") from error
            found += [run for run in (pipeline_run(each, uid) for each in page.runs) if run is not None]
            if not page.next_page_token:
                break
            query["page_token"] = page.next_page_token
        else:
            raise self._unavailable(f"its list of runs has more than {_MOST_PAGES} pages")
        # Two operators that look at the same runs must choose the same one.
        return sorted(found, key=lambda each: (each.run.created_at, each.id))

    async def _send(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        absent_is_fine: bool = False,
    ) -> bytes:
        try:
            async with self._session.request(
                method, self._endpoint + path, params=query, json=body, timeout=self._timeout, allow_redirects=False
            ) as response:
                code, content = response.status, await response.read()
        except TimeoutError as error:
            raise self._unavailable("it does not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        if code < 300 or (code == 404 and absent_is_fine):
            return content
        said = f"{code}: {_message(content)}"
        if code == 429 or code >= 500 or code < 400:
            raise self._unavailable(said)
        raise KubeflowRefusedError(
            f"Kubeflow Pipelines at {self._endpoint} refused {method} {path}: {said}.",
            "Mend pipelines.kubeflow, or what the message names.",
        )

    def _unavailable(self, why: str) -> KubeflowUnavailableError:
        return KubeflowUnavailableError(
            f"Kubeflow Pipelines at {self._endpoint}: {why}.", "Look whether its API runs and may be reached."
        )


def _message(content: bytes) -> str:
    """Return what the API says of a failure: the field `message` of JSON, else the text."""
    text = content[: 4 * _LONGEST_MESSAGE].decode(errors="replace")
    with contextlib.suppress(ValueError):
        answer = json.loads(text)
        if isinstance(answer, dict) and isinstance(answer.get("message"), str):
            text = answer["message"]
    return " ".join(text.split())[:_LONGEST_MESSAGE] or "no message"
