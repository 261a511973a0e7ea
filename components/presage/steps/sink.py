"""The last step: results to where the job also wants them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import polars as pl

from presage.errors import JobError, NotSupportedError, PresageError
from presage.features.build import with_range_volatility
from presage.frame import Panel, to_table
from presage.lake.tables import Lake
from presage.sinks.destination import Destination, destination
from presage.sinks.tables import Data, SinkTable, ds_y_symbol, native
from presage.sinks.write import check_sink, write_sink
from presage.sources.secrets import environment_secret
from presage.spec.job import PredictionJob
from presage.spec.operations import Sink
from presage.steps.ingest import Ingested
from presage.steps.promote import read_champions
from presage.steps.workdir import WorkDirectory, issued_table

Results: TypeAlias = Mapping[str, pl.DataFrame]
"""Tables of one kind of data as the lake holds them, whole, by name: for raw rows and bars the source's."""

_OF_ROWS: Mapping[str, Data] = {"raw": "rows", "forecasts": "predictions", "metrics": "metrics"}
"""What a sink's `data` means where rows are predicted from themselves."""
_BY_SOURCE = frozenset({"raw", "bars"})
_SHAPED = frozenset({"bars", "frames"})
_FILE_NAME = re.compile(r"[^/\\\0.][^/\\\0]*")


def require_sinks(job: PredictionJob, base: Path) -> None:
    """Raise what is wrong with a job's sinks that can be told before anything is read.

    Args:
        job: The job.
        base: Folder that relative paths start from.

    Raises:
        JobError: An address or a table's name is none, or two sinks would write the same table.
        MissingExtraError: What a sink needs is not installed.
        NotSupportedError: This version cannot write what a sink asks for.
    """
    for number, sink in enumerate(job.spec.sinks):
        place = f"spec.sinks[{number}]"
        if sink.data == "grades":
            raise NotSupportedError(
                f"{place}.data: this version writes no grades to sinks.",
                "Set it to forecasts or metrics, or leave the sink out: a pipeline keeps its grades in the lake.",
            )
        if job.spec.is_tabular and sink.data not in _OF_ROWS:
            raise NotSupportedError(
                f"{place}.data: task {job.spec.task} has no {sink.data}, for it predicts rows from themselves.",
                "Set it to raw (the rows), forecasts (their predictions) or metrics, or leave the sink out.",
            )
        if sink.layout == "DsYSymbol" and sink.data not in _SHAPED:
            raise NotSupportedError(
                f"{place}.layout: DsYSymbol is for bars and frames, not for {sink.data}.", "Set it to Native."
            )
        if sink.table is not None and not _FILE_NAME.fullmatch(sink.table):
            raise JobError(
                f"{place}.table: {sink.table!r} cannot be a name.", "Use no slashes, and no full stop at the start."
            )
        check_sink(sink)
    _require_own_tables(job, base)


def _require_own_tables(job: PredictionJob, base: Path) -> None:
    """Raise JobError where two sinks would write the same table, given the folder that relative paths start from."""
    taken: dict[Destination, str] = {}
    for number, sink in enumerate(job.spec.sinks):
        for name in _table_names(job, sink):
            other = taken.setdefault(destination(sink, name, base), sink.name)
            if other != sink.name:
                raise JobError(
                    f"spec.sinks[{number}]: it would write the same table as sink {other!r}.",
                    "Set `table` of one of them to another.",
                )


def sink_results(
    job: PredictionJob, lake: Lake, ingested: Ingested, panel: Panel
) -> Mapping[Data, Callable[[], Results]]:
    """Return what gives each kind of a run's results, as `write_sinks` wants it: whole, as the lake holds it."""
    target = job.spec.target.source
    return {
        "raw": lambda: {name: lake.read(version) for name, version in ingested.tables.items()},
        "bars": lambda: {name: with_range_volatility(bars).rows for name, bars in ingested.bars.items()},
        "frames": lambda: {target: to_table(panel)},
        "forecasts": lambda: issued_results(job, lake),
    }


def issued_results(job: PredictionJob, lake: Lake) -> Results:
    """Return all that a job has issued, in such an order that of the same key the last row is to be kept.

    That is the row of the champion that serves now, also after a rollback, else that of the newest run.

    Args:
        job: The job.
        lake: The lake of a work directory.

    Raises:
        LakeError: The table or the champion file cannot be read.
    """
    version = lake.current(issued_table(job))
    if version is None:
        return {}
    champions = None if lake.directory is None else read_champions(WorkDirectory(lake.directory.parent).champion(job))
    # By its inputs: a repeat of the champion's run finds its rows in the lake already, under the name of the first.
    serves = pl.col("inputs").eq_missing(pl.lit(None if champions is None else champions.current.inputs, pl.String))
    return {job.spec.target.source: lake.read(version).sort(serves, "run", maintain_order=True)}


def write_sinks(
    job: PredictionJob,
    results: Mapping[Data, Callable[[], Results]],
    *,
    base: Path,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write a run's results to all sinks of a job.

    A sink that fails does not keep the others from being written. Because each is given what the lake holds, the next
    run writes what this one could not.

    Args:
        job: The job.
        results: By kind of data, what gives it, which is called only where a sink wants it. A sink whose data is not
            there is left as it is.
        base: Folder that relative paths start from.
        sleep: Waits for so many seconds.

    Raises:
        JobError: Two sinks would write the same table; none is written.
        PresageError: A sink failed: the first one that a repeat does not help, else the first one.
    """
    _require_own_tables(job, base)
    secret = partial(environment_secret, beside=job.spec.secret_refs)
    wanted = {_given(job, sink) for sink in job.spec.sinks}
    given = {data: result() for data, result in results.items() if data in wanted}
    failures: list[PresageError] = []
    for sink in job.spec.sinks:
        try:
            tables = sink_tables(job, sink, given)
            if tables:
                write_sink(sink, tables, base=base, secret=secret, sleep=sleep)
        except PresageError as error:
            failures.append(error)
    if failures:
        first = next((failure for failure in failures if not failure.retry), failures[0])
        others = len(failures) - 1
        if not others:
            raise first
        more = f" {others} more {'sink' if others == 1 else 'sinks'} failed too."
        raise type(first)(first.what + more, first.remedy) from first


def sink_tables(job: PredictionJob, sink: Sink, results: Mapping[Data, Results]) -> tuple[SinkTable, ...]:
    """Return the tables that a sink is to hold.

    A table has the sink's `table` for its name, else the job's name and the data's, such as `btc_daily_forecasts`. Raw
    rows and bars of a job of several sources have a table a source, whose name ends in the source's.

    Raises:
        DataError: A number is infinite.
    """
    data = _given(job, sink)
    if data is None:
        return ()
    parts = results.get(data, {})
    name = _table_name(job, sink)
    if sink.layout == "DsYSymbol":
        target = job.spec.target
        shaped = [rows for source, rows in parts.items() if data == "frames" or source == target.source]
        return (ds_y_symbol(name, data, shaped, target.column),) if shaped else ()
    if data in _BY_SOURCE and len(job.spec.sources) > 1:
        return tuple(native(_of_source(name, source), data, [rows]) for source, rows in parts.items())
    return (native(name, data, list(parts.values())),) if parts else ()


def _given(job: PredictionJob, sink: Sink) -> Data | None:
    """Return which results a sink is given; None for what this version does not make."""
    if job.spec.is_tabular:
        return _OF_ROWS.get(sink.data)
    return None if sink.data == "grades" else sink.data


def _table_name(job: PredictionJob, sink: Sink) -> str:
    return sink.table or re.sub(r"[^A-Za-z0-9_]", "_", f"{job.metadata.name}_{sink.data}")


def _table_names(job: PredictionJob, sink: Sink) -> tuple[str, ...]:
    """Return the names of all tables that a sink may be given."""
    name = _table_name(job, sink)
    if sink.layout == "DsYSymbol" or sink.data not in _BY_SOURCE or len(job.spec.sources) == 1:
        return (name,)
    return tuple(_of_source(name, source.name) for source in job.spec.sources)


def _of_source(table: str, source: str) -> str:
    return f"{table}_{source}"
