"""What Ctrl-C and a container's stop signal do while the command line loads and while a command runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
TERMINATED = 143


def stop_at_once(number: int, _frame: FrameType | None) -> None:
    """End the process where it stands: nothing is open yet, or everything is written."""
    if number == signal.SIGINT:
        with suppress(OSError):
            os.write(2, b"interrupted\n")
        os._exit(INTERRUPTED)
    os._exit(TERMINATED)


def signals_stop_at_once() -> None:
    """Let both signals end the process; an interrupt that the caller ignores, as `nohup` does, stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop_at_once)
    signal.signal(signal.SIGTERM, stop_at_once)


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let the block clean up: an interrupt raises KeyboardInterrupt in it, a stop signal SystemExit."""
    interrupt, terminate = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    if interrupt is stop_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)
