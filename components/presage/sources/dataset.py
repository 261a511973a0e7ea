"""Real series inside a Python package: index prices, oil and consumer prices of `arch`."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module

import polars as pl

from presage.errors import DataError, MissingExtraError
from presage.sources.contract import Part, Request, Table
from presage.spec.sources import Source

DATASETS = {
    "arch/sp500": "arch.data.sp500",
    "arch/nasdaq": "arch.data.nasdaq",
    "arch/vix": "arch.data.vix",
    "arch/wti": "arch.data.wti",
    "arch/core-cpi": "arch.data.core_cpi",
}
"""The data sets by name, and the module whose `load` gives each as a pandas frame with a daily or monthly index."""


def read(source: Source, request: Request) -> Iterator[Table]:  # noqa: ARG001  # every adapter has this signature
    """Load the data set, one table; its time column is its index, `Date`, which holds dates.

    Args:
        source: A source of kind `dataset`.
        request: Not used: a data set lies in its package, and is read whole.

    Raises:
        DataError: There is no such data set.
        MissingExtraError: The package is not installed.
    """
    if source.dataset is None:
        raise ValueError(f"source {source.name!r} is no data set")
    name = source.dataset.name
    if name not in DATASETS:
        close = get_close_matches(name.lower(), DATASETS, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise DataError(
            f"source {source.name!r}: there is no data set {name!r}{hint}", f"Name one of {', '.join(DATASETS)}."
        )
    try:
        module = import_module(DATASETS[name])
    except ImportError as error:
        raise MissingExtraError(
            f"source {source.name!r}: data set {name!r} needs the package arch, which is not installed.",
            "Install presage[train].",
        ) from error
    loaded = module.load()
    time = str(loaded.index.name)
    days = pl.Series(time, loaded.index.to_numpy()).cast(pl.Date)
    values = [pl.Series(str(column), loaded[column].to_numpy()) for column in loaded.columns]
    data = pl.DataFrame([days, *values])
    yield Table(data, (Part(name, data.height),), time=time)
