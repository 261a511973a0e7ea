"""Grades: each issued forecast, or prediction of a row, beside the first published value of what it was about.

A grade has what was issued (all its columns), and

    actual         Float64                 the first published value, or the class, 0 or 1
    known_at       Datetime("us", "UTC")   when that became known
    error          Float64                 actual - mean, or actual - probability
    inside_<level> Boolean                 whether the central interval of that level held the actual value, such as
                                           inside_0.8 for q0.1 and q0.9; null where no interval was issued
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl

from presage.frame import KNOWN_AT, SERIES, TIMESTAMP, Panel, to_table

ACTUAL = "actual"
ERROR = "error"
TARGET_TIME = "target_time"
MEAN = "mean"
PROBABILITY = "probability"
_INSIDE = "inside_"


def grade(issued: pl.DataFrame, truths: pl.DataFrame, *, on: Sequence[str], now: datetime) -> pl.DataFrame:
    """Return the grade of each forecast whose outcome became known after it was issued, and by now.

    Args:
        issued: What was issued: `issued_at`, `mean` or `probability`, quantiles such as q0.05, and the columns `on`.
        truths: What came: the columns `on`, once each, `actual` and `known_at`.
        on: Columns that tell which outcome a forecast is about.
        now: What is known later is not known, UTC.

    Returns:
        The grades in the order of what was issued.
    """
    known = truths.filter(pl.col(KNOWN_AT) <= now, pl.col(ACTUAL).is_not_null())
    given = issued.drop(KNOWN_AT, ACTUAL, strict=False)
    joined = given.join(known.select(*on, ACTUAL, KNOWN_AT), on=list(on), how="inner", maintain_order="left")
    # A forecast of what was known already would be none.
    joined = joined.filter(pl.col("issued_at") < pl.col(KNOWN_AT))
    center = PROBABILITY if PROBABILITY in joined.columns else MEAN
    inside = [
        pl.col(ACTUAL).is_between(pl.col(low), pl.col(high)).alias(f"{_INSIDE}{level}")
        for level, low, high in _intervals(joined.columns)
    ]
    return joined.with_columns((pl.col(ACTUAL) - pl.col(center)).alias(ERROR), *inside)


def truths_of(panel: Panel) -> pl.DataFrame:
    """Return what came of each period of each series, as first published.

    Columns: series (String), target_time and known_at (Datetime, UTC), actual (Float64, in the target's unit).
    """
    table = to_table(panel)
    steps = [
        table.select(
            SERIES,
            pl.col(f"outcome_{step}_time").cast(TIMESTAMP).alias(TARGET_TIME),
            pl.col(f"outcome_{step}").alias(ACTUAL),
            pl.col(f"outcome_{step}_known_at").cast(TIMESTAMP).alias(KNOWN_AT),
        )
        for step in range(1, panel.whole.horizon + 1)
    ]
    came = pl.concat(steps).filter(pl.col(ACTUAL).is_not_null())
    # A period is told by every origin from which it lay ahead, and by each in the same way.
    return came.unique((SERIES, TARGET_TIME), keep="first", maintain_order=True).sort(SERIES, TARGET_TIME)


def summary(grades: pl.DataFrame, *, newest: int) -> dict[str, float]:
    """Return what the newest grades say together.

    Args:
        grades: Grades, of any number.
        newest: How many of them count, by when their outcome became known.

    Returns:
        `count`; with it, where there is a grade, `mae` (of probabilities `brier`, the mean squared error), and a
        `coverage_<level>`, such as coverage_0.8, for each level that some grade has.
    """
    counted = grades.sort(KNOWN_AT, maintain_order=True).tail(newest)
    found: dict[str, float] = {"count": float(counted.height)}
    if not counted.height:
        return found
    if PROBABILITY in counted.columns:
        found["brier"] = _mean(counted[ERROR] ** 2)
    else:
        found["mae"] = _mean(counted[ERROR].abs())
    for name in counted.columns:
        held = counted[name].drop_nulls()
        if name.startswith(_INSIDE) and len(held):
            found[f"coverage_{name.removeprefix(_INSIDE)}"] = _mean(held.cast(pl.Float64))
    return found


def _mean(values: pl.Series) -> float:
    return float(values.to_numpy().mean())


def _intervals(columns: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return level, lower and upper column of each central interval that quantile columns make, by level."""
    # In decimals, so that 1 - 0.05 is 0.95 and names its column.
    quantiles = {Decimal(name[1:]): name for name in columns if _is_quantile(name)}
    pairs = [(1 - 2 * low, name, quantiles[1 - low]) for low, name in quantiles.items() if 1 - low in quantiles]
    return sorted((f"{level.normalize():f}", low, high) for level, low, high in pairs if level > 0)


def _is_quantile(name: str) -> bool:
    return name.startswith("q0.") and name[3:].isdecimal()
