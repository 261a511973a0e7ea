"""What a run was made of, read again from the lake: its data as it was known then, and what had been tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from presage.errors import DataExpiredError, LakeError
from presage.evaluation.trials import Trial
from presage.lake.tables import Lake, TableVersion
from presage.steps.bars import JobBars
from presage.steps.ingest import Ingested, known_bars, source_summary
from presage.steps.ingest_rows import known_rows
from presage.steps.kept_run import KeptRun
from presage.steps.reading import Kept
from presage.steps.records import read_trials, trial_of
from presage.steps.rows import JobRows
from presage.steps.select import build_panel


def restore_data(run: KeptRun) -> JobBars | JobRows:
    """Return the data of a run as it was known when the run was made, read from the versions that it pinned.

    What its sources said twice or could not be true is not in the lake; how much that was is told by the run.

    Raises:
        DataExpiredError: A version is no longer kept.
        LakeError: A version has another digest than the run pinned.
    """
    job, manifest = run.job, run.manifest
    lake, now = Lake(run.work.lake.as_uri()), manifest.created_at
    told = {one.name: one for one in run.summary.scorecard.sources}
    data: JobBars | JobRows
    if job.spec.is_tabular:
        name = job.spec.target.source
        version, one = _pinned(run, name), told[name]
        with _expired(lake, run, version):
            rows = known_rows(job, lake, version, repeated=one.duplicates, dropped=one.dropped, now=now)
        data = JobRows(job=job, lake=lake, ingested=rows, known_at=now, replaced=name in manifest.replaced)
    else:
        bars, summaries = {}, []
        for source in job.spec.sources:
            version, one = _pinned(run, source.name), told[source.name]
            kept = Kept(version, duplicates=one.duplicates, dropped=one.dropped)
            with _expired(lake, run, version):
                bars[source.name] = known_bars(job, source, lake, kept, now=now)
            summaries.append(source_summary(source, kept, bars[source.name]))
        tables = {name: _pinned(run, name) for name in bars}
        ingested = Ingested(tables=tables, bars=bars, summaries=tuple(summaries))
        data = JobBars(job=job, lake=lake, ingested=ingested, built=build_panel(job, bars))
    return data


def restore_history(run: KeptRun) -> tuple[tuple[Trial, ...], Trial | None]:
    """Return what had been tried before a run, and the losses of the model that served then; None where none did.

    Raises:
        DataExpiredError: They are no longer kept.
        LakeError: They are not what the run pinned.
    """
    lake, manifest = Lake(run.work.lake.as_uri()), run.manifest
    with _expired(lake, run, manifest.tried):
        history = read_trials(lake, manifest.tried, run.work, run.job)
    with _expired(lake, run, None if manifest.incumbent is None else manifest.incumbent.trials):
        incumbent = trial_of(lake, manifest.incumbent, run.work, run.job)
    return history, incumbent


def _pinned(run: KeptRun, source: str) -> TableVersion:
    version = run.manifest.tables.get(source)
    if version is None:
        raise LakeError(f"run {run.manifest.run} in {run.directory} pins no data of source {source!r}.")
    return version


@contextmanager
def _expired(lake: Lake, run: KeptRun, version: TableVersion | None) -> Iterator[None]:
    """Let what is read of a version inside the block tell that the version is no longer kept, if that is why it fails.

    Raises:
        DataExpiredError: The version, or a file of it, is gone.
    """
    try:
        yield
    except LakeError as error:
        if version is None or lake.stored(version.table).holds(version.version):
            raise
        raise DataExpiredError(
            f"version {version.version} of table {version.table}, which run {run.manifest.run} pinned, is no longer "
            f"kept in {run.work.lake}.",
            "Restore it from a copy, or rerun a newer run.",
        ) from error
