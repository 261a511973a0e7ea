"""Logs a run through the server and reads back what it holds, then deletes it."""  # noqa: INP001 - a script

from __future__ import annotations

import sys
import time
import uuid

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

NAME = "presage-helm-test"
client = mlflow.MlflowClient()
held = client.get_experiment_by_name(NAME)
if held is not None and held.lifecycle_stage == "deleted":
    client.restore_experiment(held.experiment_id)
experiment = client.create_experiment(NAME) if held is None else held.experiment_id
run = client.create_run(experiment).info
value, text = time.time(), uuid.uuid4().hex
client.log_metric(run.run_id, "value", value)
client.log_text(run.run_id, text, "text.txt")
read = client.get_run(run.run_id).data.metrics["value"], mlflow.artifacts.load_text(f"{run.artifact_uri}/text.txt")
get_artifact_repository(run.artifact_uri).delete_artifacts("text.txt")
client.delete_run(run.run_id)
client.delete_experiment(experiment)
if read != (value, text):
    raise SystemExit(f"{(value, text)} was logged, and {read} read back.")
sys.stdout.write("A metric and an artefact were logged and read back.\n")
