"""The steps that learn: what each fold keeps of the features, and the walk-forward of one entrant.

Both depend on nothing but the job and the pin of its data, so that a cache by their inputs finds what was done before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from presage.engine import engine_for
from presage.steps.pinned import pinned
from presage.steps.walked import read_selections, write_selections, write_walks
from presage_pipelines.steps.given import job_of, reading

# What is issued now has a time; what is learnt has none.
_ANY_TIME = datetime.max.replace(tzinfo=UTC)


def select(job: str, workdir: str, data: str, *, features: Path) -> list[str]:
    """Write what each fold keeps of the features.

    Args:
        job: The job, as text.
        workdir: A directory's path, or `s3://bucket/prefix`.
        data: The pin, as JSON.
        features: File to write, of `presage.steps.walked.write_selections`.

    Returns:
        Names of the entrants: each is walked by itself.

    Raises:
        DataError: There is too little to train on.
        LeakageError: A feature tells the target.
        LakeError: The lake does not hold what the pin names.
    """
    parsed = job_of(job)
    with reading(workdir, parsed, data) as lake, engine_for(parsed.spec.engine) as engine:
        found = pinned(parsed, lake, data, now=_ANY_TIME)
        write_selections(features, found.select(engine))
        return list(found.entrants)


def train(job: str, workdir: str, data: str, entrant: str, *, features: Path, walk: Path) -> None:
    """Write the walk-forward of one entrant.

    Args:
        job: The job, as text.
        workdir: A directory's path, or `s3://bucket/prefix`.
        data: The pin, as JSON.
        entrant: Its name.
        features: What `select` wrote.
        walk: File to write, of `presage.steps.walked.write_walks`.

    Raises:
        DataError: The entrant cannot learn.
        LakeError: The lake does not hold what the pin names, or the features cannot be read.
    """
    parsed = job_of(job)
    with reading(workdir, parsed, data) as lake, engine_for(parsed.spec.engine) as engine:
        found = pinned(parsed, lake, data, now=_ANY_TIME)
        write_walks(walk, found.walk(read_selections(features), engine, {entrant}))
