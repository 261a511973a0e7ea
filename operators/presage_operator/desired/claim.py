"""The PersistentVolumeClaim of a job's lake."""

from __future__ import annotations

from presage.spec.job import PredictionJob
from presage_operator.desired.metadata import metadata
from presage_operator.errors import JsonObject
from presage_operator.names import claim_name, labels
from presage_operator.settings import Settings


def lake_claim(job: PredictionJob, *, uid: str, settings: Settings) -> JsonObject | None:
    """Return the claim of a job's lake, or None where the lake is in a bucket.

    A claim that outlives its job has no owner, and a later job of the same name finds it.
    """
    volume = settings.lake.volume
    if settings.lake.s3 is not None or volume is None:
        return None
    spec: JsonObject = {
        "accessModes": list(volume.access_modes),
        "resources": {"requests": {"storage": volume.size}},
    }
    if volume.storage_class_name is not None:
        spec["storageClassName"] = volume.storage_class_name
    name = job.metadata.name
    owned = volume.when_deleted == "Delete"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(job, claim_name(name), uid=uid, labels=labels(name), annotations={}, owned=owned),
        "spec": spec,
    }
