"""What a run's result depends on, as one digest: two runs of the same inputs find the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from presage.lake.content import digest
from presage.spec.digest import spec_digest
from presage.spec.job import PredictionJob
from presage.steps.bars import JobBars
from presage.steps.lock import lock_digest
from presage.steps.rows import JobRows


def inputs_of(data: JobBars | JobRows, lock: Mapping[str, str] | None = None) -> str:
    """Return what pins the result of a run over a job's data, as hexadecimal digits.

    The bars count beside the rows that they are made of: of the same rows, more are known on a later day.

    Args:
        data: The job's data.
        lock: The software; None for that of this process.
    """
    seen = dict(data.digests)
    if isinstance(data, JobBars):
        seen |= {f"bars/{name}": digest(bars.rows) for name, bars in data.ingested.bars.items()}
    return inputs_digest(data.job, seen, lock)


def inputs_digest(job: PredictionJob, data: Mapping[str, str], lock: Mapping[str, str] | None = None) -> str:
    """Return the SHA-256 over spec, seed, software and data.

    Args:
        job: The job.
        data: By name, the digests of its data.
        lock: The software; None for that of this process.
    """
    parts = [spec_digest(job), str(job.spec.seed), lock_digest(lock)]
    parts += [f"{name} {one}" for name, one in sorted(data.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
