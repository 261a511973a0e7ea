"""Which rows of a training window can teach what comes some steps after them."""

from __future__ import annotations

import numpy as np

from presage.errors import DataError
from presage.frame import FloatArray, Frame, IntArray, to_change
from presage.models.contract import Task

LEAST_ROWS = 10


def known_outcomes(frame: Frame, task: Task, step: int) -> tuple[IntArray, FloatArray]:
    """Return the rows whose outcome is known, and the outcomes as they are learnt.

    Args:
        frame: Rows and outcomes known at the cut-off.
        task: What is learnt.
        step: Step ahead, from 1.

    Returns:
        (m,) rows, ascending, and (m,) float64, the outcome of each in the terms of the task's transform.

    Raises:
        DataError: There are fewer than 10 of them.
    """
    outcome = frame.target_level[:, step - 1 : step]
    change = to_change(task.transform, frame.level[:, np.newaxis], outcome)[:, 0]
    rows = np.flatnonzero(np.isfinite(change))
    if len(rows) < LEAST_ROWS:
        raise DataError(
            f"series {frame.series!r}: {len(rows)} of the {len(frame)} rows to learn from have a known outcome at step "
            f"{step} whose {task.transform} is defined; at least {LEAST_ROWS} are needed.",
            "Give more history, a larger trainSize or a shorter horizon; PercentChange and LogChange also need levels "
            "above 0.",
        )
    return rows, change[rows]
