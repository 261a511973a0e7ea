"""Real series inside a Python package: index prices, oil and consumer prices of `arch`."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import polars as pl

from presage.errors import DataError, MissingExtraError
from presage.sources.contract import Part, Request, Table
from presage.spec.sources import Source

DATASETS = {
    "arch/sp500": "sp500/sp500.csv.gz",
    "arch/nasdaq": "nasdaq/nasdaq.csv.gz",
    "arch/vix": "vix/vix.csv.gz",
    "arch/wti": "wti/wti.csv.gz",
    "arch/core-cpi": "core_cpi/core-cpi.csv.gz",
}
"""The data sets by name, and the file of each below the package's folder of data."""
_TIME = "Date"


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
    # To import the package, which fits models and draws, takes longer than all else that reading does.
    package = find_spec("arch")
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError(
            f"source {source.name!r}: data set {name!r} needs the package arch, which is not installed.",
            "Install presage[train].",
        )
    loaded = pd.read_csv(Path(package.submodule_search_locations[0], "data", DATASETS[name]))
    days = pl.Series(_TIME, pd.to_datetime(loaded.pop(_TIME)).to_numpy()).cast(pl.Date)
    numbers = loaded.apply(pd.to_numeric, errors="coerce")
    values = [pl.Series(str(column), numbers[column].to_numpy()) for column in numbers.columns]
    data = pl.DataFrame([days, *values])
    yield Table(data, (Part(name, data.height),), time=_TIME)
