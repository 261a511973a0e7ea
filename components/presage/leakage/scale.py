"""Whether a column was scaled by what only its whole history tells."""

from __future__ import annotations

import numpy as np

from presage.frame import FloatArray

NAME = "scale"
LEAST_ROWS = 30
LEAST_DIFFERENT = 10
"""Different values below which a column names states, as -1 and 1 do."""
_EXACT = 1e-6
"""How near to 0 and 1 mean and deviation are where a column was made so, and written with four decimals or more."""
_VARIED = 0.25
"""Share of values that differ, below which a column counts things, as a share of 500 stocks does; prices with two
decimals have more."""


def scaled(values: FloatArray) -> str:
    """Return how a column was scaled on its whole history, in words; empty where it was not, or that cannot be told.

    A mean of 0 and a deviation of 1 are no accident. A least value of 0 and a largest of 1 may be honest, as a share's
    are: they count where each is reached once, one of them in the later half, in values of which many differ.

    Args:
        values: (n,) the column in the order of time; NaN where missing.
    """
    values = values[np.isfinite(values)]
    different = len(np.unique(values))
    if len(values) < LEAST_ROWS or different < LEAST_DIFFERENT:
        return ""
    deviations = (float(values.std()), float(values.std(ddof=1)))
    if abs(float(values.mean())) <= _EXACT and any(abs(one - 1) <= _EXACT for one in deviations):
        return "its mean is 0 and its deviation 1"
    least, largest = int(values.argmin()), int(values.argmax())
    once = (values == values[least]).sum() == 1 and (values == values[largest]).sum() == 1
    bounds = abs(values[least]) <= _EXACT**2 and abs(values[largest] - 1) <= _EXACT**2
    varied = different >= _VARIED * len(values)
    if bounds and once and varied and max(least, largest) >= len(values) // 2:
        return "its least value is 0 and its largest 1"
    return ""
