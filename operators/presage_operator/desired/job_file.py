"""The job as a file in a run's Pod: an annotation of the Pod, so that a run is whole in one object."""

from __future__ import annotations

from presage.spec.job import PredictionJob
from presage.spec.job_text import job_text
from presage_operator.desired.fault import Fault
from presage_operator.names import JOB_FILE

PATH = "/etc/presage"
NAME = "job.json"

LARGEST_ANNOTATIONS = 256 * 1024
"""Bytes that an object's annotations may have together, names and values."""
_RESERVED = 1024


def size_fault(job: PredictionJob) -> Fault | None:
    """Return the fault JobTooLarge where a Pod cannot carry the job's file; None where it can."""
    size = len(job_text(job).encode()) + len(JOB_FILE) + _RESERVED
    if size <= LARGEST_ANNOTATIONS:
        return None
    return Fault(
        "JobTooLarge",
        f"The job is {size} bytes long, and a Pod takes {LARGEST_ANNOTATIONS} bytes. "
        "Shorten its queries or lists of symbols, or split it into several jobs.",
    )
