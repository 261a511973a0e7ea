"""The job as a file in a run's Pod: an annotation of the Pod, so that a run is whole in one object."""

from __future__ import annotations

import json
import re

from presage.spec.job import PredictionJob
from presage_operator.desired.fault import Fault
from presage_operator.names import JOB_FILE

PATH = "/etc/presage"
NAME = "job.json"

LARGEST_ANNOTATIONS = 256 * 1024
"""Bytes that an object's annotations may have together, names and values."""
_RESERVED = 1024
# What YAML takes for a line break or for no text at all, and JSON does not.
_UNLIKE_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def job_file(job: PredictionJob) -> str:
    """Return the job as compact JSON, which its loader reads to the same digests; it holds no secret, only references.

    What was left out stays left out; of the metadata only name and namespace are kept.
    """
    head = {"name": job.metadata.name, "namespace": job.metadata.namespace}
    spec = job.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    content = {"apiVersion": job.api_version, "kind": job.kind, "metadata": head, "spec": spec}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _UNLIKE_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def size_fault(job: PredictionJob) -> Fault | None:
    """Return the fault JobTooLarge where a Pod cannot carry the job's file; None where it can."""
    size = len(job_file(job).encode()) + len(JOB_FILE) + _RESERVED
    if size <= LARGEST_ANNOTATIONS:
        return None
    return Fault(
        "JobTooLarge",
        f"The job is {size} bytes long, and a Pod takes {LARGEST_ANNOTATIONS} bytes. "
        "Shorten its queries or lists of symbols, or split it into several jobs.",
    )
