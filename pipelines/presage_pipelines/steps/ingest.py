"""The first step: the sources' rows come into the lake, and the data that later steps work on gets its pin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from presage.files import storage_faults
from presage.frame import to_table
from presage.lake.tables import Lake
from presage.steps.bars import JobBars, read_bars
from presage.steps.outcome import data_digest
from presage.steps.pinned import pin
from presage.steps.rows import read_rows
from presage.steps.supported import require_supported
from presage_pipelines.steps.given import BASE, job_of, moment_of, writing


@dataclass(frozen=True)
class Ingested:
    """What a step has brought into the lake.

    Attributes:
        data: The pin, as JSON; the same whenever the same data was read.
        rows: Rows of the table that was written.
        digest: SHA-256 over the digests of all sources.
        sources: By name, the digest of each source's rows.
    """

    data: str
    rows: int
    digest: str
    sources: dict[str, str]


def ingest(job: str, workdir: str, as_of: str, *, dataset: Path) -> Ingested:
    """Read a job's sources, keep their rows in the lake, and write what models are given of them as Parquet.

    Args:
        job: The job, as text.
        workdir: A directory's path, or `s3://bucket/prefix`.
        as_of: When the rows are got, UTC.
        dataset: Parquet file to write: the frames of the series, or the rows.

    Raises:
        PresageError: As `presage.steps.run.run_job` reads its sources.
    """
    parsed, now = job_of(job), moment_of(as_of)
    require_supported(parsed, BASE)
    read = read_rows if parsed.spec.is_tabular else read_bars
    with writing(workdir, parsed) as work:
        found = read(parsed, Lake(work.lake.as_uri()), base=BASE, now=now, sources={})
        held = pin(found)
    table = to_table(found.built.panel) if isinstance(found, JobBars) else found.ingested.observations.table
    with storage_faults(dataset, "the artefact's path"):
        dataset.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(dataset)
    return Ingested(
        data=held.model_dump_json(),
        rows=table.height,
        digest=data_digest(held.sources),
        sources={one.name: one.digest for one in held.sources},
    )
