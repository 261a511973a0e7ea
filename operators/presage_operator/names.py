"""Names that the operator gives: labels, annotations, children."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import NamedTuple

from presage.spec.crd import GROUP
from presage.spec.status import RunKind

FIELD_MANAGER = "presage-operator"
MANAGED_BY = "app.kubernetes.io/managed-by"
JOB_LABEL = f"{GROUP}/job"
CADENCE_LABEL = f"{GROUP}/cadence"
RUN_LABEL = f"{GROUP}/run"
JOB_NAMESPACE_LABEL = f"{GROUP}/job-namespace"
JOB_UID_LABEL = f"{GROUP}/job-uid"
TRIGGER = f"{GROUP}/trigger"
SCHEDULED_TIME = f"{GROUP}/scheduled-time"
ATTEMPT = f"{GROUP}/attempt"
RUN_DIGEST = f"{GROUP}/run-digest"
REQUEST = f"{GROUP}/request"
JOB_FILE = f"{GROUP}/job-file"
DESIRED = f"{GROUP}/desired"
TRAIN_REQUESTED_AT = f"{GROUP}/train-requested-at"
FORECAST_REQUESTED_AT = f"{GROUP}/forecast-requested-at"
ROLLBACK_REQUESTED_AT = f"{GROUP}/rollback-requested-at"
ROLLBACK_REASON = f"{GROUP}/rollback-reason"
ROLLBACK_TO = f"{GROUP}/rollback-to"
ROLLBACK_FROM = f"{GROUP}/rollback-from"
ROLLBACK_BY = f"{GROUP}/rollback-by"
FINALIZER = f"{GROUP}/pipeline-run"


class Key(NamedTuple):
    """Which PredictionJob."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def labels(job: str) -> dict[str, str]:
    """Return the labels of every child of a job."""
    return {MANAGED_BY: FIELD_MANAGER, JOB_LABEL: job}


def run_name(job: str, uid: str, cadence: RunKind, cause: str) -> str:
    """Return the name of a run's child: the same for the same cause, so that to make it twice makes it once.

    Args:
        job: Name of the PredictionJob, 53 characters at most.
        uid: Its UID: another job of the same name has other runs.
        cadence: Train, Forecast or Rollback.
        cause: What the run is for, such as a due time.
    """
    digest = hashlib.sha256(f"{uid}\n{cadence}\n{cause}".encode()).hexdigest()[:8]
    return f"{job}-{digest}"


def server_name(job: str) -> str:
    """Return the name of a job's Deployment, Service, autoscaler and disruption budget."""
    return f"{job}-predictor"


def claim_name(job: str) -> str:
    """Return the name of the claim of a job's lake volume."""
    return f"{job}-lake"


def utc_text(moment: datetime) -> str:
    """Return a moment as Kubernetes writes it: RFC 3339 in UTC, whole seconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
