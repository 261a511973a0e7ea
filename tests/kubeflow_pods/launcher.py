"""In a step's Pod, what Kubeflow's launcher does: artefacts come from the bucket, and go there, around the command.

It stands in for a program that runs in Kubeflow's own containers only. It is given to the Pod as a file and uses what
the step's image has.

python launcher.py COMMAND [WORD ...]    with the executor's input as JSON behind --executor_input
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3

_INPUT = "--executor_input"


def local_path(uri: str) -> Path:
    """Return where the official executor looks for an artefact of the bucket."""
    parts = urlsplit(uri)
    return Path("/s3", parts.netloc, parts.path.lstrip("/"))


def main(command: list[str]) -> int:
    """Fetch the inputs, run the command, and store its outputs; return its exit code."""
    given = json.loads(command[command.index(_INPUT) + 1])
    client = boto3.client("s3", endpoint_url=os.environ["LAUNCHER_S3_ENDPOINT"])
    for artifact in artifacts(given.get("inputs", {})):
        fetch(client, artifact["uri"])
    outputs = given.get("outputs", {})
    for artifact in artifacts(outputs):
        local_path(artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)
    files = [one["outputFile"] for one in outputs.get("parameters", {}).values()]
    files.append(outputs["outputFile"])
    for name in files:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        return code
    executed = Path(outputs["outputFile"])
    if executed.is_file():
        outputs["artifacts"] = json.loads(executed.read_text()).get("artifacts", {})
    for artifact in artifacts(outputs):
        store(client, artifact["uri"])
    bucket, prefix = os.environ["LAUNCHER_RESULTS"].split("/", 1)
    for name in files:
        if Path(name).is_file():
            client.upload_file(name, bucket, f"{prefix}/{Path(name).name}")
    return 0


def artifacts(part: dict) -> list[dict]:
    """Return the artefacts of an executor's inputs or outputs."""
    return [one for listed in part.get("artifacts", {}).values() for one in listed.get("artifacts", [])]


def fetch(client: object, uri: str) -> None:
    """Copy an artefact, a file or a folder, from the bucket."""
    parts = urlsplit(uri)
    prefix = parts.path.lstrip("/")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=prefix):
        for entry in page.get("Contents", ()):
            key = entry["Key"]
            if key == prefix or key.startswith(f"{prefix}/"):
                target = local_path(f"s3://{parts.netloc}/{key}")
                target.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(parts.netloc, key, str(target))


def store(client: object, uri: str) -> None:
    """Copy an artefact, a file or a folder, to the bucket."""
    place = local_path(uri)
    root = Path("/s3", urlsplit(uri).netloc)
    for path in [place] if place.is_file() else sorted(one for one in place.rglob("*") if one.is_file()):
        client.upload_file(str(path), urlsplit(uri).netloc, path.relative_to(root).as_posix())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
