"""Why a job may not be given its children."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a job or of the platform that no repeat mends.

    Attributes:
        reason: One CamelCase word for a condition.
        message: What is wrong and what to do about it.
    """

    reason: str
    message: str
