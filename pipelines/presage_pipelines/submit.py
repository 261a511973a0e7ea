"""A run in Kubeflow Pipelines through its official client: made, followed to its end, and told as it goes on."""

from __future__ import annotations

import json
import logging
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp
from kfp_server_api import ApiClient, ApiException, Configuration, HealthzServiceApi
from urllib3.exceptions import HTTPError

from presage.errors import JobError, PresageError, RetryError, StopError

TOKEN = "PRESAGE_KUBEFLOW_TOKEN"  # noqa: S105  # the name of a variable
SUCCEEDED = frozenset({"SUCCEEDED", "SKIPPED"})
ENDED = SUCCEEDED | {"FAILED", "CANCELED"}
_UNKNOWN = "RUNTIME_STATE_UNSPECIFIED"
_POLL_SECONDS = 5.0
_ANSWER_SECONDS = 30
_MOST_SILENT = 12
_EXIT_CODE = re.compile(r"exit (?:code|status) (\d+)")
_LONGEST = 1000


class KubeflowUnavailableError(RetryError):
    """Kubeflow Pipelines does not answer, or says that it cannot now."""


class KubeflowRefusedError(StopError):
    """Kubeflow Pipelines says that the request is wrong."""

    exit_code = 2


@dataclass(frozen=True)
class RunEnded:
    """How a run ended.

    Attributes:
        run_id: What Kubeflow calls it.
        state: SUCCEEDED, SKIPPED, FAILED or CANCELED.
        message: What Kubeflow says of a failure; mostly nothing.
        failed: Names of the steps that failed.
        exit_code: What a step ended with, where Kubeflow says so; None where it does not.
    """

    run_id: str
    state: str
    message: str = ""
    failed: tuple[str, ...] = ()
    exit_code: int | None = None


@dataclass
class Runs:
    """The runs of a Kubeflow Pipelines.

    Args:
        endpoint: Address of its API, http:// or https://.
        token: Bearer token; None where none is needed.
        namespace: Namespace of the runs, where many users share it; else None.
        sleep: Waits some seconds.
        clock: Seconds, from any start.

    Raises:
        JobError: The endpoint is no address, or the namespace is missing.
        KubeflowUnavailableError: By every method: there is no answer, or one of 429 or 5xx.
        KubeflowRefusedError: By every method: the API refuses the request, or what answers is not that API.
    """

    endpoint: str
    token: str | None = None
    namespace: str | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _client: Any = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.netloc or "@" in parts.netloc:
            raise JobError(
                f"--endpoint: {_shown(self.endpoint)!r} is no address.",
                f"Give the address of the API, such as http://localhost:8888, and a token in {TOKEN}.",
            )
        # It tells of each attempt of a request, and the error tells of the last.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        with self._asked():
            # The client asks this too, for half a minute where there is no answer.
            health = HealthzServiceApi(ApiClient(self._configuration())).healthz_service_get_healthz(
                _request_timeout=_ANSWER_SECONDS, _preload_content=False
            )
            if self._is_shared(health.data) and self.namespace is None:
                raise JobError(
                    f"Kubeflow Pipelines at {self.endpoint} is shared by many users.", "Give yours as --namespace."
                )
            # Under this name the client takes what its own settings say.
            self._client = kfp.Client(self.endpoint, namespace=self.namespace or "kubeflow", existing_token=self.token)

    def _is_shared(self, answer: bytes) -> bool:
        """Return whether many users share it; the client takes any text, such as a page to log in, for an answer."""
        try:
            health = json.loads(answer)
        except ValueError:
            health = None
        # A server leaves out what has no value.
        shared = health.get("multi_user", False) if isinstance(health, dict) else None
        if not isinstance(shared, bool):
            raise self._stranger()
        return shared

    def _stranger(self) -> KubeflowRefusedError:
        return KubeflowRefusedError(
            f"what answers at {self.endpoint} is not the API of Kubeflow Pipelines.",
            f"Give the address of the API, and where one must log in, a token in {TOKEN}.",
        )

    def _configuration(self) -> Configuration:
        configuration = Configuration(host=self.endpoint.rstrip("/"))
        if self.token:
            configuration.api_key["authorization"] = self.token
            configuration.api_key_prefix["authorization"] = "Bearer"
        return configuration

    def start(
        self,
        package: str,
        *,
        name: str,
        experiment: str,
        parameters: Mapping[str, str],
        service_account: str | None = None,
    ) -> str:
        """Start a run of a compiled pipeline and return its id; the experiment is made where it is not there."""
        with self._asked(), tempfile.TemporaryDirectory(prefix="presage-") as folder:
            path = Path(folder) / "pipeline.yaml"
            path.write_text(package, encoding="utf-8")
            found = self._client.create_experiment(experiment, namespace=self.namespace)
            made = self._client.run_pipeline(
                self._id(found.experiment_id), name, str(path), params=dict(parameters), service_account=service_account
            )
            return self._id(made.run_id)

    def follow(self, run_id: str, *, timeout: float | None, told: Callable[[str], None]) -> RunEnded:
        """Wait for a run's end, and tell of each step when its state changes.

        An API that does not answer for a minute or less, or not with the run, is waited for.

        Args:
            run_id: The run.
            timeout: Seconds after which it is no longer waited for; None to wait for ever.
            told: Given a line whenever there is something new.

        Raises:
            KubeflowUnavailableError: The run has not ended in time, or the API does not answer any more. The run goes
                on.
        """
        start, silent, known = self.clock(), 0, dict[str, str]()
        while True:
            try:
                run = self._run(run_id)
                silent = 0
            except KubeflowUnavailableError as error:
                silent += 1
                if silent >= _MOST_SILENT:
                    raise
                told(f"{error.what} It is asked again.")
            else:
                for line in _news(run, known):
                    told(line)
                if run.state in ENDED:
                    return _ended(run)
            if timeout is not None and self.clock() - start >= timeout:
                raise KubeflowUnavailableError(
                    f"run {run_id} has not ended in {timeout:g} seconds.", "It goes on: look at it in Kubeflow."
                )
            self.sleep(_POLL_SECONDS)

    def _run(self, run_id: str) -> Any:  # noqa: ANN401  # the library is not typed
        with self._asked():
            run = self._client.runs.run_service_get_run(run_id, _request_timeout=_ANSWER_SECONDS)
        if not run.run_id:
            raise KubeflowUnavailableError(
                f"what answers at {self.endpoint} tells nothing of run {run_id}.",
                f"It goes on: look at it in Kubeflow. Where one must log in, give a token in {TOKEN}.",
            )
        return run

    def _id(self, found: str | None) -> str:
        """Return the id of what was made or found; raises KubeflowRefusedError where the answer has none."""
        if not found:
            raise self._stranger()
        return found

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Run a call of the library, which writes to stdout and warns of what it is."""
        try:
            with redirect_stdout(sys.stderr), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                yield
        except ApiException as error:
            raise self._fault(error) from error
        except (HTTPError, OSError) as error:
            raise KubeflowUnavailableError(
                f"Kubeflow Pipelines at {self.endpoint} does not answer ({type(error).__name__}).",
                "Look whether its API runs and may be reached.",
            ) from error

    def _fault(self, error: ApiException) -> PresageError:
        said = " ".join(str(error.body or error.reason or "no message").split())[:_LONGEST]
        if error.status in (0, None, 429) or error.status >= 500 or error.status < 400:
            return KubeflowUnavailableError(
                f"Kubeflow Pipelines at {self.endpoint} cannot now ({error.status}: {said}).", "Try again later."
            )
        return KubeflowRefusedError(
            f"Kubeflow Pipelines at {self.endpoint} refuses the request ({error.status}: {said}).",
            "Mend what the message names.",
        )


def _shown(endpoint: str) -> str:
    """Return an address without the credentials that it may hold."""
    return re.sub(r"(?<=://)[^\s/@]+@", "***@", endpoint)


def _news(run: Any, known: dict[str, str]) -> Iterator[str]:  # noqa: ANN401  # the library is not typed
    """Give a line for the run and for each of its steps whose state is another than the known one."""
    states = {"": str(run.state or _UNKNOWN)}
    for task in _tasks(run):
        # Each turn of the fan-out has the same name.
        states[f"{task.display_name or task.task_id} {task.task_id}"] = str(task.state or _UNKNOWN)
    for key, state in states.items():
        if known.get(key) != state:
            known[key] = state
            if state != _UNKNOWN:
                yield f"{key.partition(' ')[0] or 'run'}: {state.lower()}"


def _ended(run: Any) -> RunEnded:  # noqa: ANN401  # the library is not typed
    failed = [task for task in _tasks(run) if task.state == "FAILED"]
    messages = [str(one.error.message or "") for one in (run, *failed) if one.error is not None]
    codes = [int(code) for message in messages for code in _EXIT_CODE.findall(message)]
    return RunEnded(
        run_id=str(run.run_id),
        state=str(run.state),
        message=next(filter(None, messages), "")[:_LONGEST],
        failed=tuple(dict.fromkeys(str(task.display_name or task.task_id) for task in failed)),
        exit_code=next(iter(codes), None),
    )


def _tasks(run: Any) -> list[Any]:  # noqa: ANN401  # the library is not typed
    return [] if run.run_details is None else list(run.run_details.task_details or ())
