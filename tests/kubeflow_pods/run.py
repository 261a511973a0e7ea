"""A double of Kubeflow's back end: runs a compiled pipeline, each step as a Pod of a real cluster.

The order of steps, conditions, loops, retries and the cache are those of the official `kfp.local`; a step is a Pod with
the image, command, environment, volumes and labels that the compiled pipeline says, and artefacts go through a bucket
(`launcher.py`). What each step came to is written to a file, a line a step.

python run.py FILE    what to run and where, as JSON (`PipelinePods`)
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

_LAUNCHER = Path(__file__).parent / "launcher.py"
_RESULTS = "results"
_STEP_SECONDS = 600
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
Json = dict


@dataclass(frozen=True)
class PipelinePods:
    """A run of a compiled pipeline.

    Attributes:
        run_id: The run's id.
        pipeline: The pipeline's spec.
        platform: Its platform spec; empty where it has none.
        arguments: Its parameters.
        namespace: Where its Pods run.
        service_account: Whom they run as.
        kubectl: The program, and how it finds the cluster.
        folder: Where this process keeps its files.
        bucket: Bucket and prefix of artefacts.
        store: The bucket's address and keys, as environment variables.
        caching: Whether steps that were done with the same inputs are not done again.
    """

    run_id: str
    pipeline: Json
    platform: Json
    arguments: Json
    namespace: str
    service_account: str
    kubectl: list[str]
    folder: str
    bucket: str
    store: dict[str, str]
    caching: bool = True

    def cluster(self, *words: str, text: str | None = None) -> str:
        """Return what kubectl says; raises CalledProcessError."""
        command = [*self.kubectl, f"--namespace={self.namespace}", *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


class Steps:
    """Runs one step after the other, or several at once, as Pods."""

    def __init__(self, run: PipelinePods) -> None:
        self.run = run
        self._told = threading.Lock()

    def tell(self, step: str, state: str, pod: str, **more: object) -> None:
        """Write down what became of a step."""
        line = json.dumps({"step": step, "state": state, "pod": pod, **more})
        with self._told, Path(self.run.folder, "steps.jsonl").open("a") as file:
            file.write(line + "\n")

    def settings(self, function: str) -> Json:
        """Return what the platform spec says of the executor of a function."""
        executors = (
            self.run.platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
        )
        return executors.get(f"exec-{function.replace('_', '-')}", {})

    def execute(self, image: str, command: list[str], environment: dict[str, str]) -> bool:
        """Run a step's Pod to its end; return whether it ended well."""
        function = command[command.index("--function_to_execute") + 1]
        step = function.replace("_", "-")
        name = f"{step}-{secrets.token_hex(4)}"
        place = command.index("--executor_input") + 1
        given = json.loads(command[place])
        wanted = in_bucket(given, self.run.bucket, f"{self.run.run_id}/{name}")
        command = [*command[:place], json.dumps(wanted), *command[place + 1 :]]
        results = f"{self.run.bucket}/{self.run.run_id}/{name}/{_RESULTS}"
        pod = pod_of(self.run, name, image, command, environment, self.settings(function), results)
        self.run.cluster("create", "-f", "-", text=json.dumps(pod))
        self.tell(step, "RUNNING", name)
        ended = self._ended(name)
        code = ended.get("exitCode")
        self.tell(step, "SUCCEEDED" if code == 0 else "FAILED", name, exit_code=code, message=ended.get("message", ""))
        if code == 0:
            self._fetch(given, wanted, results)
        return code == 0

    def _ended(self, name: str) -> Json:
        """Wait for the end of a Pod's container and return what the kubelet says of it."""
        deadline = time.monotonic() + _STEP_SECONDS
        while time.monotonic() < deadline:
            pod = json.loads(self.run.cluster("get", "pod", name, "-o", "json"))
            for container in pod["status"].get("containerStatuses", []):
                if "terminated" in container["state"]:
                    return container["state"]["terminated"]
            if pod["status"]["phase"] in {"Failed", "Succeeded"}:
                return {"exitCode": 1, "message": pod["status"].get("message", "")}
            time.sleep(0.2)
        return {"exitCode": 1, "message": f"not ended after {_STEP_SECONDS} seconds"}

    def _fetch(self, given: Json, wanted: Json, results: str) -> None:
        """Bring the step's parameters, and what it says of its artefacts, to where the order of steps is kept."""
        import boto3

        client = boto3.client("s3", endpoint_url=self.run.store["AWS_ENDPOINT_URL"])
        bucket, prefix = results.split("/", 1)
        theirs, ours = wanted["outputs"], given["outputs"]
        pairs = {
            one["outputFile"]: ours["parameters"][key]["outputFile"]
            for key, one in theirs.get("parameters", {}).items()
        }
        pairs[theirs["outputFile"]] = ours["outputFile"]
        for there, here in pairs.items():
            Path(here).parent.mkdir(parents=True, exist_ok=True)
            try:
                client.download_file(bucket, f"{prefix}/{Path(there).name}", here)
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "404":
                    raise


def in_bucket(given: Json, bucket: str, prefix: str) -> Json:
    """Return an executor's input with its outputs in the bucket and its files where Kubeflow has them."""
    outputs = given["outputs"]
    parameters = {key: {"outputFile": f"/tmp/kfp/outputs/{key}"} for key in outputs.get("parameters", {})}
    artifacts = {
        key: {"artifacts": [one | {"uri": f"s3://{bucket}/{prefix}/{key}"} for one in listed["artifacts"]]}
        for key, listed in outputs.get("artifacts", {}).items()
    }
    return given | {
        "outputs": {
            "parameters": parameters,
            "artifacts": artifacts,
            "outputFile": "/tmp/kfp/outputs/output_metadata.json",
        }
    }


def pod_of(
    run: PipelinePods,
    name: str,
    image: str,
    command: list[str],
    environment: dict[str, str],
    settings: Json,
    results: str,
) -> Json:
    """Return a step's Pod as Kubeflow would make it, as far as the platform spec is used here."""
    volumes = [
        {"name": "launcher", "configMap": {"name": f"launcher-{run.run_id}"}},
        *({"name": each, "emptyDir": {}} for each in ("artifacts", "temporary")),
    ]
    mounts = [
        {"name": "launcher", "mountPath": "/kfp-launcher"},
        {"name": "artifacts", "mountPath": "/s3"},
        {"name": "temporary", "mountPath": "/tmp"},
    ]
    for number, secret in enumerate(settings.get("secretAsVolume", [])):
        source = {"secretName": named(secret, "secretName"), "optional": secret.get("optional", False)}
        volumes.append({"name": f"secret-{number}", "secret": source})
        mounts.append({"name": f"secret-{number}", "mountPath": secret["mountPath"], "readOnly": True})
    for number, claim in enumerate(settings.get("pvcMount", [])):
        held = {"claimName": claim.get("constant") or named(claim, "pvcName")}
        volumes.append({"name": f"claim-{number}", "persistentVolumeClaim": held})
        mounts.append({"name": f"claim-{number}", "mountPath": claim["mountPath"]})
    for number, empty in enumerate(settings.get("emptyDirMounts", [])):
        volumes.append({"name": f"empty-{number}", "emptyDir": {}})
        mounts.append({"name": f"empty-{number}", "mountPath": empty["mountPath"]})
    variables = [{"name": key, "value": value} for key, value in environment.items()]
    for secret in settings.get("secretAsEnv", []):
        for pair in secret["keyToEnv"]:
            reference = {
                "name": named(secret, "secretName"),
                "key": pair["secretKey"],
                "optional": secret.get("optional", False),
            }
            variables.append({"name": pair["envVar"], "valueFrom": {"secretKeyRef": reference}})
    names = {one["name"] for one in variables}
    launcher = {"LAUNCHER_S3_ENDPOINT": run.store["AWS_ENDPOINT_URL"], "LAUNCHER_RESULTS": results}
    variables += [{"name": key, "value": value} for key, value in (launcher | run.store).items() if key not in names]
    user = {
        key: int(value) if key != "runAsNonRoot" else value
        for key, value in settings.get("securityContext", {}).items()
    }
    metadata = settings.get("podMetadata", {})
    labels = {"pipelines.kubeflow.org/v2_component": "true", "pipeline/runid": run.run_id} | metadata.get("labels", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": metadata.get("annotations", {})},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": run.service_account,
            "nodeSelector": settings.get("nodeSelector", {}).get("labels", {}),
            "activeDeadlineSeconds": int(settings.get("activeDeadlineSeconds", _STEP_SECONDS)),
            "imagePullSecrets": [{"name": named(one, "secretName")} for one in settings.get("imagePullSecret", [])],
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": settings.get("imagePullPolicy", "IfNotPresent"),
                    "command": ["python3", "/kfp-launcher/launcher.py", *command],
                    "env": variables,
                    "resources": resources_of(run.pipeline, name),
                    "securityContext": _RESTRICTED | user,
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        },
    }


def resources_of(pipeline: Json, pod: str) -> Json:
    """Return the requests and limits of the executor whose Pod it is, in Kubernetes' words."""
    executor = pipeline["deploymentSpec"]["executors"].get(f"exec-{pod.rpartition('-')[0]}", {})
    held = executor.get("container", {}).get("resources", {})
    found: Json = {}
    for kind, suffix in (("requests", "Request"), ("limits", "Limit")):
        amounts = {unit: held.get(f"resource{unit.capitalize()}{suffix}") for unit in ("cpu", "memory")}
        found[kind] = {unit: amount for unit, amount in amounts.items() if amount}
    return found


def named(part: Json, field: str) -> str:
    """Return a name of the platform spec, which is a constant here."""
    parameter = part.get(f"{field}Parameter", {}).get("runtimeValue", {}).get("constant")
    return parameter or part[field]


def main(run: PipelinePods) -> None:
    """Run a pipeline; raises RuntimeError where a step failed."""
    warnings.simplefilter("ignore")
    from google.protobuf import json_format
    from kfp import local
    from kfp.local import docker_task_handler, executor_input_utils, pipeline_orchestrator, status
    from kfp.pipeline_spec import pipeline_spec_pb2

    os.environ.update(run.store)
    steps = Steps(run)

    class PodTaskHandler:
        def __init__(
            self, image: str, full_command: list[str], pipeline_root: str, runner: object, env_vars: dict[str, str]
        ) -> None:
            self._call = (image, full_command, env_vars)

        def run(self) -> status.Status:
            return status.Status.SUCCESS if steps.execute(*self._call) else status.Status.FAILURE

    docker_task_handler.DockerTaskHandler = PodTaskHandler
    # Of a loop's steps, each must have a place of its own, as in Kubeflow.
    plain = executor_input_utils.get_local_task_resource_name
    executor_input_utils.get_local_task_resource_name = lambda name: f"{plain(name)}-{secrets.token_hex(4)}"

    launcher = f"--from-file=launcher.py={_LAUNCHER}"
    run.cluster("create", "configmap", f"launcher-{run.run_id}", launcher)
    pipeline = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(run.pipeline, pipeline)
    folder = Path(run.folder)
    local.init(
        runner=local.DockerRunner(),
        pipeline_root=str(folder / "root"),
        workspace_root=str(folder / "workspace"),
        enable_caching=run.caching,
        cache_root=str(folder.parent / "cache"),
    )
    pipeline_orchestrator.run_local_pipeline(pipeline, run.arguments)


if __name__ == "__main__":
    main(PipelinePods(**json.loads(Path(sys.argv[1]).read_text())))
