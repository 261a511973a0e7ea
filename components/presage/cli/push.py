"""`--pushgateway`: a run's metrics to a Prometheus Pushgateway."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from presage.cli.output import note

if TYPE_CHECKING:
    from presage.steps.records import DoneRun

Pushgateway = Annotated[
    str | None,
    typer.Option(
        "--pushgateway",
        metavar="URL",
        envvar="PRESAGE_PUSHGATEWAY",
        help="Push the run's metrics to this Prometheus Pushgateway.",
    ),
]


def push(url: str | None) -> Callable[[DoneRun, datetime], None]:
    """Start the clock of a run, and return what pushes its metrics once it is kept; a refusal is a remark on stderr.

    Args:
        url: Address of the gateway; None for nothing to push.

    Raises:
        JobError: The address is none.
        MissingExtraError: The `metrics` extra is not installed.
    """
    if not url:
        return lambda _done, _made_at: None
    from presage.steps.push import push_run, require_pushgateway  # noqa: PLC0415  # heavy

    require_pushgateway(url)
    started = perf_counter()

    def pushed(done: DoneRun, made_at: datetime) -> None:
        seconds, held_back = perf_counter() - started, done.held_back is not None
        fault = push_run(url, done.summary, made_at=made_at, seconds=seconds, held_back=held_back)
        if fault:
            note(f"warning: {fault} The run is kept, and the next one pushes its own.")

    return pushed
