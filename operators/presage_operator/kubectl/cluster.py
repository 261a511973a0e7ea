"""The plug-in's way to a cluster: a kubeconfig, a namespace, and the few calls that the commands make."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from kubernetes import client, config  # type: ignore[import-untyped]
from urllib3 import disable_warnings
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from presage.errors import PresageError, RetryError, StopError
from presage.spec.crd import GROUP, PLURAL, VERSION
from presage_operator.kubectl.job import JobList, JobState, PodState, read_job, read_jobs, read_pods, read_user
from presage_operator.names import JOB_LABEL, server_name

_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_WATCH_SECONDS = 45
_CHUNK = 65536


class _Answer(Protocol):
    data: bytes

    def stream(self, amount: int) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class Cluster:
    """A namespace of a cluster.

    Every call raises StopError where the API server refuses it, and RetryError where it does not answer.
    """

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    def job(self, name: str) -> JobState:
        """Return a job."""
        return read_job(self._read(self._jobs(name), missing=self._no_job(name)))

    def jobs(self) -> JobList:
        """Return the jobs of the namespace."""
        missing = StopError(
            "this cluster does not know PredictionJobs.", "Install Presage on it, or name another one with --context."
        )
        return read_jobs(self._read(self._jobs(), missing=missing))

    def user(self) -> str | None:
        """Return the name under which the API server knows who asks; None where it does not say."""
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            with self._call("POST", path, body=body, content="application/json") as answer:
                return read_user(answer.data)
        except StopError:
            return None  # who may not ask, or asks an old server, goes without a name

    def annotate(self, name: str, annotations: Mapping[str, str | None]) -> JobState:
        """Set annotations of a job, remove those that are None, and return it."""
        body = {"metadata": {"annotations": dict(annotations)}}
        with self._call("PATCH", self._jobs(name), body=body, missing=self._no_job(name)) as answer:
            return read_job(answer.data)

    def wait_for_change(self, job: JobState) -> JobState:
        """Return a job once it is another version, or after a while all the same."""
        chosen = {"fieldSelector": f"metadata.name={job.name}"}
        # The job's own version may be too old to watch from; the list's never is.
        listed = read_jobs(self._read(self._jobs(), query=chosen))
        if listed.items != (job,):
            return self.job(job.name)
        query = chosen | {
            "watch": "1",
            "resourceVersion": listed.resource_version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        with self._call("GET", self._jobs(), query=query, read_seconds=2 * _WATCH_SECONDS) as answer:
            next(answer.stream(_CHUNK), b"")
        return self.job(job.name)

    def pods(self, job: str, selector: str) -> tuple[PodState, ...]:
        """Return the Pods of a job that another selector also names, the newest first."""
        query = {"labelSelector": f"{JOB_LABEL}={job},{selector}"}
        return read_pods(self._read(f"/api/v1/namespaces/{self.namespace}/pods", query=query))

    def logs(self, pod: str, container: str, *, follow: bool, previous: bool) -> Iterator[bytes]:
        """Yield what a container wrote, as it comes."""
        query = {"container": container, "follow": str(follow).lower(), "previous": str(previous).lower()}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{quote(pod)}/log"
        missing = StopError(f"Pod {self.namespace}/{pod} is gone.", "Its log went with it.")
        seconds = None if follow else _READ_SECONDS
        with self._call("GET", path, query=query, missing=missing, read_seconds=seconds) as answer:
            yield from answer.stream(_CHUNK)

    def served_report(self, name: str) -> bytes:
        """Return the HTML report that a job's server has, through the API server."""
        path = f"/api/v1/namespaces/{self.namespace}/services/http:{server_name(name)}:http/proxy/report"
        missing = StopError(
            f"nothing serves {self.namespace}/{name}, or its server has no report.",
            f"See why: kubectl presage status {name} -n {self.namespace}. "
            "A server comes with the first run that ends well, where spec.serving.enabled is true.",
        )
        return self._read(path, missing=missing, unavailable=missing)

    def _jobs(self, name: str = "") -> str:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}"
        return f"{path}/{quote(name, safe='')}" if name else path

    def _no_job(self, name: str) -> StopError:
        return StopError(
            f"there is no PredictionJob {self.namespace}/{name}.",
            f"See what there is: kubectl presage status -n {self.namespace}.",
        )

    def _read(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        missing: PresageError | None = None,
        unavailable: PresageError | None = None,
    ) -> bytes:
        with self._call("GET", path, query=query, missing=missing, unavailable=unavailable) as answer:
            return answer.data

    @contextmanager
    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = "application/merge-patch+json",
        missing: PresageError | None = None,
        unavailable: PresageError | None = None,
        read_seconds: float | None = _READ_SECONDS,
    ) -> Iterator[_Answer]:
        """Give the answer of a call; `missing` is raised for a 404, `unavailable` for a 503."""
        headers = {"Accept": "*/*"}
        if body is not None:
            headers["Content-Type"] = content
        try:
            answer: _Answer = self._api.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=(_CONNECT_SECONDS, read_seconds),
            )
            try:
                yield answer
            finally:
                answer.close()
        except client.ApiException as error:
            known = {404: missing, 503: unavailable}.get(error.status)
            raise known or _refused(error) from error
        except HTTPError as error:
            raise RetryError(
                f"the API server {self._api.configuration.host} does not answer: {_innermost(error)}.",
                "Check the cluster with kubectl cluster-info, or name another one with --context.",
            ) from error


def connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> Cluster:
    """Return a namespace of the cluster that a kubeconfig names; default: the context's own, else `default`.

    Raises:
        StopError: The kubeconfig cannot be used.
    """
    # Where the certificate is not checked, the kubeconfig says so; to hear it again at each call helps nobody.
    disable_warnings(InsecureRequestWarning)
    configuration = client.Configuration()
    # A cluster that is away is said to be so at once.
    configuration.retries = False
    path = None if kubeconfig is None else str(kubeconfig)
    try:
        config.load_kube_config(config_file=path, context=context, client_configuration=configuration)
        contexts, active = config.list_kube_config_contexts(config_file=path)
    except (config.ConfigException, OSError) as error:
        place = path or os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise StopError(
            f"the kubeconfig {place} cannot be used: {str(error).rstrip('.')}.",
            "Name another one with --kubeconfig or KUBECONFIG, or another context with --context.",
        ) from error
    chosen = active if context is None else next(one for one in contexts if one["name"] == context)
    return Cluster(client.ApiClient(configuration), namespace or chosen["context"].get("namespace") or "default")


def _refused(error: client.ApiException) -> PresageError:
    what = f"the API server answers {error.status}: {_message(error).rstrip('.')}."
    if error.status == 429 or error.status >= 500:
        return RetryError(what, "Try again later.")
    if error.status in {401, 403}:
        return StopError(what, "Log in to the cluster, or ask its administrators for that right.")
    return StopError(what)


def _message(error: client.ApiException) -> str:
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    message = status.get("message") if isinstance(status, dict) else None
    return str(message or body.strip() or error.reason)


def _innermost(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else str(error).rstrip(".")
