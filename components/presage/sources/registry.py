"""Which adapter reads which kind of source, and how a source is replaced at run time."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from presage.errors import JobError, NotSupportedError
from presage.sources.contract import Adapter
from presage.spec.base import SpecModel
from presage.spec.sources import (
    ClickHouseSource,
    DatasetSource,
    FileSource,
    HttpSource,
    KafkaSource,
    NatsSource,
    S3Source,
    Source,
    SqlSource,
    TableOptions,
)

# Modules by name, so that a source costs the import of its own adapter only.
_ADAPTERS = {
    "dataset": "presage.sources.dataset",
    "file": "presage.sources.file",
    "http": "presage.sources.http",
    "s3": "presage.sources.s3",
    "exchange": "presage.sources.exchange",
    "sql": "presage.sources.sql",
    "clickhouse": "presage.sources.clickhouse",
}

_KINDS: dict[str, tuple[str, type[SpecModel]]] = {
    "file": ("file", FileSource),
    "s3": ("s3", S3Source),
    "sqlite": ("sql", SqlSource),
    "mysql": ("sql", SqlSource),
    "postgresql": ("sql", SqlSource),
    "http": ("http", HttpSource),
    "https": ("http", HttpSource),
    "kafka": ("kafka", KafkaSource),
    "nats": ("nats", NatsSource),
    "clickhouse": ("clickhouse", ClickHouseSource),
    "chdb": ("clickhouse", ClickHouseSource),
}
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9.-]*)(\+[A-Za-z0-9.-]+)?://")
_DATASET = "dataset:"


def adapter(source: Source) -> Adapter:
    """Return the adapter of a source's kind.

    Raises:
        NotSupportedError: The kind has no adapter yet.
    """
    if source.kind not in _ADAPTERS:
        raise NotSupportedError(
            f"source {source.name!r}: this version reads no source of kind {source.kind!r}; it reads "
            f"{', '.join(_ADAPTERS)}.",
            f"Replace it at run time by a file of the same columns: --source {source.name}=FILE.csv",
        )
    return cast(Adapter, import_module(_ADAPTERS[source.kind]))


def override(source: Source, uri: str, *, cwd: Path) -> Source:
    """Return a source that is read from another place; all else of it stays.

    What the old and the new kind have in common stays as well, such as the delimiter and the lines above a header,
    but another kind's file format is told anew by its name.

    Args:
        source: The source.
        uri: A path, `dataset:NAME`, or a URI: file, s3, sqlite, mysql, postgresql, http, https, kafka, nats,
            clickhouse or chdb, with a driver such as mysql+pymysql where it has one.
        cwd: Folder that a relative path starts from.

    Raises:
        JobError: The text is no place, or the new kind needs more than a place.
        NotSupportedError: No kind of source has this URI's scheme.
    """
    if not uri.strip():
        raise JobError(f"--source {source.name}= names no place.", "Write a path or URI behind the equals sign.")
    if uri.startswith(_DATASET):
        return _replaced(source, "dataset", DatasetSource, {"name": uri.removeprefix(_DATASET)})
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return _replaced(source, "file", FileSource, {"uri": str(cwd / uri)})
    known = _KINDS.get(scheme[1].lower())
    if known is None:
        raise NotSupportedError(
            f"source {source.name!r}: no kind of source has the scheme of {scheme[0]!r}.",
            f"Use a path, {_DATASET}NAME, or one of {', '.join(f'{name}://' for name in _KINDS)}.",
        )
    kind, model = known
    return _replaced(source, kind, model, {"url" if kind == "http" else "uri": uri})


def _replaced(source: Source, kind: str, model: type[SpecModel], place: dict[str, str]) -> Source:
    old = getattr(source, source.kind)
    kept: dict[str, object] = {}
    if source.kind == kind:
        kept = old.model_dump()
    elif isinstance(old, TableOptions) and issubclass(model, TableOptions):
        kept = {field: getattr(old, field) for field in TableOptions.model_fields if field != "format"}
    try:
        new = model.model_validate(kept | place)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(str(part) for part in fault["loc"])
        raise JobError(
            f"--source {source.name}={next(iter(place.values()))}: a source of kind {kind} needs more than a place "
            f"({field or kind}: {fault['msg']}).",
            "Write the source in the job file.",
        ) from error
    return source.model_copy(update={source.kind: None, kind: new})
