"""The double of Kubeflow's API together with the one of its back end: a run that is made runs, as Pods of a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.conftest import Cluster
from doubles.kubeflow import KubeflowDouble, kubeflow_double
from s3.gateway import BUCKET, Gateway

_RUN = Path(__file__).parent / "run.py"
_ARTIFACTS = f"{BUCKET}/artifacts"


class Backend:
    """Runs what the API was given.

    Attributes:
        api: The API's double.
        folder: A folder a run, with its steps and its log.
    """

    def __init__(self, api: KubeflowDouble, cluster: Cluster, store: Gateway, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self._cluster = cluster
        self._store = store
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()

    def steps(self, run_id: str) -> list[dict]:
        """Return what became of each step's Pods, in order."""
        told = self.folder / run_id / "steps.jsonl"
        return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []

    def log(self, run_id: str) -> str:
        """Return what the back end said of a run."""
        return (self.folder / run_id / "log").read_text(errors="replace")

    def work(self) -> None:
        """Start, watch and cancel runs until told to stop."""
        while not self._stop.wait(0.2):
            for run_id, run in list(self.api.runs.items()):
                state = run["state"]
                if state == "PENDING" and run_id not in self._running:
                    self._start(run_id, run)
                    self.api.goes_on(run_id, "RUNNING")
                elif state == "CANCELING" and run_id in self._running:
                    self._end(run_id)
                    self.api.goes_on(run_id, "CANCELED")
                elif state == "RUNNING" and (code := self._running[run_id].poll()) is not None:
                    failed = next((one for one in reversed(self.steps(run_id)) if one["state"] == "FAILED"), {})
                    message = f"step {failed.get('step', '')} failed" if code else ""
                    self.api.goes_on(run_id, "FAILED" if code else "SUCCEEDED", message)
        for run_id in self._running:
            self._end(run_id)

    def stop(self) -> None:
        """Have the work end; what runs is ended with it."""
        self._stop.set()

    def _start(self, run_id: str, run: dict) -> None:
        folder = self.folder / run_id
        folder.mkdir(parents=True)
        spec = run["pipeline_spec"]
        what = {
            "run_id": run_id,
            "pipeline": spec.get("pipeline_spec", spec),
            "platform": spec.get("platform_spec", {}),
            "arguments": run["runtime_config"]["parameters"],
            "namespace": self.api.experiments[run["experiment_id"]]["namespace"],
            "service_account": run.get("service_account") or "default",
            "kubectl": [str(self._cluster.programs / "kubectl"), f"--kubeconfig={self._cluster.kubeconfig}"],
            "folder": str(folder),
            "bucket": _ARTIFACTS,
            "store": self._store.environment() | {"AWS_DEFAULT_REGION": "us-east-1"},
        }
        (folder / "run.json").write_text(json.dumps(what))
        with (folder / "log").open("wb") as log:
            command = [sys.executable, str(_RUN), str(folder / "run.json")]
            self._running[run_id] = subprocess.Popen(command, stdout=log, stderr=log)

    def _end(self, run_id: str) -> None:
        process = self._running[run_id]
        if process.poll() is None:
            process.kill()
            process.wait()
            place = json.loads((self.folder / run_id / "run.json").read_text())["namespace"]
            self._cluster.kubectl("delete", "pods", "-n", place, "-l", f"pipeline/runid={run_id}", "--wait=false")


@contextmanager
def kubeflow(cluster: Cluster, store: Gateway, folder: Path, host: str) -> Iterator[Backend]:
    """Start both doubles; the API listens on an address that Pods reach."""
    with kubeflow_double(host=host, multi_user=True) as api:
        backend = Backend(api, cluster, store, folder)
        worker: Callable[[], None] = backend.work
        thread = threading.Thread(target=worker, daemon=True)
        thread.start()
        try:
            yield backend
        finally:
            backend.stop()
            thread.join(30)
