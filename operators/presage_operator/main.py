"""The operator's process: logs, the event loop, the exit code."""

from __future__ import annotations

import asyncio
import logging

from presage.cli.logs import set_up_logs
from presage.errors import PresageError
from presage_operator.operator import Operator
from presage_operator.settings import Settings


class OperatorEndedError(PresageError):
    """The operator ended without being asked to; Kubernetes starts it anew."""

    exit_code = 7
    retry = True


def run_operator(settings: Settings) -> None:
    """Run one replica until a signal ends it.

    Raises:
        PresageError: It cannot start, or it ended without being asked to.
    """
    set_up_logs("presage", "presage_operator", "kopf")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    operator = Operator(settings)
    await operator.run()
    if operator.failure:
        raise OperatorEndedError(operator.failure, "See the log above; it may be started again.")
