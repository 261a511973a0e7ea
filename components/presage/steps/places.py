"""Sources that are read from another place than the job file names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from presage.errors import JobError
from presage.sources.registry import override
from presage.spec.job import PredictionJob


def replace_sources(job: PredictionJob, places: Mapping[str, str]) -> PredictionJob:
    """Return the job with some of its sources read from other places.

    Args:
        job: The job.
        places: By source's name, a URI; a path is relative to the current directory.

    Raises:
        JobError: The job has no source of a name.
    """
    require_sources(job, places)
    sources = tuple(
        override(source, places[source.name], cwd=Path.cwd()) if source.name in places else source
        for source in job.spec.sources
    )
    return job.model_copy(update={"spec": job.spec.model_copy(update={"sources": sources})})


def require_sources(job: PredictionJob, names: Iterable[str]) -> None:
    """Raise JobError for the first name that is none of a job's sources."""
    known = [source.name for source in job.spec.sources]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise JobError(
                f"--source {name}: the job has no source of that name.{hint}", f"It has: {', '.join(known)}."
            )
