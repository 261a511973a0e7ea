"""What runs tasks: processes of this machine, Spark or Dask; the result is the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from presage.engine.local import LocalEngine, Progress
from presage.spec.operations import Engine as EngineSettings
from presage.tasks import Engine

__all__ = ["Engine", "LocalEngine", "Progress", "engine_for"]


@contextmanager
def engine_for(
    settings: EngineSettings, on_progress: Progress | None = None, *, workers: int | None = None
) -> Iterator[Engine]:
    """Give the engine that a job asks for; a cluster is reached at the first task and left at the end of the block.

    Args:
        settings: What the job says.
        on_progress: Called after each task with how many are done and how many there are.
        workers: Tasks at a time; None for what the job says.
    """
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    if settings.type == "local":
        yield LocalEngine(settings.workers, on_progress)
        return
    from presage.engine.cluster import ClusterEngine  # noqa: PLC0415  # slow to load, and most jobs need none

    with ClusterEngine(settings.type, settings.workers, settings.address, on_progress) as engine:
        yield engine
