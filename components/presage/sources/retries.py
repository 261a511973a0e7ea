"""Another attempt where one failed for the moment: a few, with growing waits that are not the same for all."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from presage.errors import SourceUnavailableError

Given = TypeVar("Given")

ATTEMPTS = 5
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
"""Seconds; who is asked to wait longer is told so, because a run that holds its lock for hours helps nobody."""


class PassingError(SourceUnavailableError):
    """An attempt failed, and the next one may not.

    Args:
        what: As in every error.
        remedy: As in every error.
        wait: Seconds that the server asked to wait at least; 0 where it did not.
    """

    def __init__(self, what: str, remedy: str, wait: float = 0.0) -> None:
        super().__init__(what, remedy)
        self.wait = wait


def retried(
    attempt: Callable[[], Given], *, sleep: Callable[[float], None], jitter: Callable[[], float] = random.random
) -> Given:
    """Return what an attempt gives, the first or one of four more.

    The waits double from half a second on; each is shortened by up to half, so that many readers of a server that was
    down do not come back at the same moment.

    Args:
        attempt: Raises PassingError where another one may succeed.
        sleep: Waits for so many seconds.
        jitter: Gives numbers from 0 to 1.

    Raises:
        SourceUnavailableError: All attempts failed, or the server asks to wait longer than a minute.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            return attempt()
        except PassingError as error:
            if error.wait > _LONGEST_WAIT:
                what = f"{error.what.removesuffix('.')}, and asks to wait {error.wait:.0f} s."
                raise SourceUnavailableError(what, error.remedy) from error
            if number == ATTEMPTS:
                what = f"{error.what.removesuffix('.')}, {ATTEMPTS} times."
                raise SourceUnavailableError(what, error.remedy) from error
            sleep(max(error.wait, _FIRST_WAIT * 2 ** (number - 1) * (1 - jitter() / 2)))
    raise AssertionError
