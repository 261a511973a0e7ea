"""What a run's result depends on, as one digest: two runs of the same inputs find the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from presage.spec.digest import spec_digest
from presage.steps.bars import JobBars
from presage.steps.lock import lock_digest
from presage.steps.rows import JobRows


def inputs_of(data: JobBars | JobRows, lock: Mapping[str, str] | None = None) -> str:
    """Return the SHA-256 over spec, seed, software and data of a run, as hexadecimal digits.

    Args:
        data: The job's data.
        lock: The software; None for that of this process.
    """
    parts = [spec_digest(data.job), str(data.job.spec.seed), lock_digest(lock)]
    parts += [f"{name} {one}" for name, one in sorted(data.digests.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
