"""Tables and queries of ClickHouse: of a server, and of the engine embedded in this process, by the same client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from presage.errors import DataError, JobError, MissingExtraError, PresageError
from presage.sources.bookmarks import Value
from presage.sources.contract import Request, Table
from presage.sources.queries import readable_query
from presage.sources.retries import PassingError, retried
from presage.sources.rowstream import RowStream, bookmark_of, columns_to_read
from presage.sources.secrets import secret_value
from presage.sources.spans import Span, span_of
from presage.spec.sources import ClickHouseSource, Source

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 300
_LONGEST = 300
_NOT_OPENED = "Unable to open the chdb engine"
# Codes of the server's own error list.
_PASSING = frozenset({159, 202, 209, 210, 241, 242, 243, 319, 425, 999})
_REFUSED = frozenset({192, 193, 194, 516})
_FORBIDDEN = frozenset({497})
_MISSING = frozenset({16, 47, 60, 81})
_READ_ONLY = frozenset({36, 164})
# Queries may have settings of their own, but change nothing.
_SETTINGS = {"readonly": 2}


@dataclass(frozen=True)
class _Place:
    """Where a ClickHouse is: a directory of this machine, or a server.

    Attributes:
        shown: The address as messages show it.
        options: What the client is told.
        directory: The embedded engine's directory.
    """

    shown: str
    options: Mapping[str, object]
    directory: Path | None


def read(source: Source, request: Request) -> Iterator[Table]:
    """Read a table, or what a query gives, in the blocks in which ClickHouse gives them.

    The session may only read. The growing column, the bookmark and the span are as in `presage.sources.relation`. Only
    one process at a time can use an embedded engine's directory, and a process only one directory at a time.

    Args:
        source: A source of kind `clickhouse`.
        request: The span, the bookmark, and the secret's values.

    Raises:
        DataError: There is no such database, table or column, or it refuses to be read.
        JobError: The address is none, the query is no SELECT, or the credentials are missing or wrong.
        MissingExtraError: The client or the embedded engine is not installed.
        SourceUnavailableError: The server does not answer, or stops to.
    """
    options = source.clickhouse
    if options is None:
        raise ValueError(f"source {source.name!r} is no ClickHouse")
    place = _parse(options.uri, f"source {source.name!r}")
    what = f"{place.shown}, {'query' if options.table is None else f'table {options.table!r}'}"
    reader = _Reader(source, options, request, what, _credentials(options, request))
    client = retried(lambda: reader.connect(place), sleep=request.sleep)
    with reader.faults(), closing(client):
        yield from reader.tables(client)


class _Reader:
    """What one read of a source needs to know."""

    def __init__(
        self,
        source: Source,
        options: ClickHouseSource,
        request: Request,
        what: str,
        credentials: Mapping[str, str],
    ) -> None:
        self._source = source
        self._options = options
        self._request = request
        self._what = what
        self._credentials = credentials

    def connect(self, place: _Place) -> Any:  # noqa: ANN401  # the library is not typed
        """Return a client; raises PassingError where the next attempt may succeed."""
        try:
            from clickhouse_connect import get_client  # noqa: PLC0415  # an extra
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"source {self._source.name!r} needs the Python package {error.name}, which is not installed.",
                "Install presage[clickhouse].",
            ) from error
        given = {} if place.directory is not None else self._credentials
        try:
            with self.faults():
                return get_client(**place.options, **given, settings=dict(_SETTINGS), tz_mode="aware")
        except ImportError as error:
            raise MissingExtraError(
                f"source {self._source.name!r} needs the embedded engine chdb, which is not installed.",
                "Install presage[clickhouse].",
            ) from error

    def tables(self, client: Any) -> Iterator[Table]:  # noqa: ANN401  # as above
        """Give the rows."""
        source, options, request = self._source, self._options, self._request
        rows = self._relation()
        present = client.query(f"SELECT * FROM {rows} LIMIT 0").column_names  # noqa: S608  # names are quoted
        names = columns_to_read(source, present, options.incremental_column, self._what)
        span = None
        if request.start is not None:
            time = _quoted(source.time)
            found = client.query(f"SELECT {time} FROM {rows} WHERE {time} IS NOT NULL LIMIT 1").result_rows  # noqa: S608  # as above
            span = span_of(source, request, found[0][0] if found else None, loose_types=False)
        with client.query_column_block_stream(self._statement(rows, names, span)) as blocks:
            stream = RowStream(
                source, request, self._what, tuple(blocks.source.column_names), options.incremental_column
            )
            yield from stream.tables(list(zip(*block, strict=True)) for block in blocks)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what ClickHouse refuses into errors that a user can read."""
        from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415  # an extra

        place = f"source {self._source.name!r}, {self._what}"
        try:
            yield
        except ClickHouseError as error:
            raise _explained(error, place, self._said(error), self._options) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: a cell is no text in UTF-8 ({error.reason}).", "Correct the data.") from error

    def _relation(self) -> str:
        if self._options.table is not None:
            return ".".join(_quoted(part) for part in self._options.table.split(".", 1))
        return f"({readable_query(self._options.query or '', f'source {self._source.name!r}')}\n)"

    def _statement(self, rows: str, names: Sequence[str], span: Span | None) -> str:
        growing = self._options.incremental_column
        if span is None and growing is None and self._options.query is not None:
            return readable_query(self._options.query, f"source {self._source.name!r}")
        chosen = f"SELECT {', '.join(_quoted(name) for name in names)} FROM {rows}"  # noqa: S608  # names are quoted
        if span is not None:
            time = _quoted(span.column)
            within = f"{time} >= {_literal(span.low)} AND {time} < {_literal(span.high)}"
            return f"{chosen} WHERE ({within}) OR {time} IS NULL ORDER BY {time}"
        if growing is None:
            return chosen
        column = _quoted(growing)
        bookmark = bookmark_of(self._source, self._request)
        if bookmark is not None:
            chosen += f" WHERE {column} >= {_literal(bookmark.value)} OR {column} IS NULL"
        return f"{chosen} ORDER BY {column}"

    def _said(self, error: Exception) -> str:
        lines = str(error).strip().splitlines()
        line = lines[0] if lines else type(error).__name__
        for value in self._credentials.values():
            line = line.replace(value, "***") if value else line
        return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def _parse(uri: str, place: str) -> _Place:
    parts = urlsplit(uri)
    if "@" in parts.netloc:
        raise JobError(
            f"{place}: the address of ClickHouse holds credentials.",
            "Take them out; set `secretRef` to a secret with the keys username and password.",
        )
    shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
    remedy = "Write clickhouse://host:port/database, or chdb:///directory."
    try:
        port = parts.port
    except ValueError as error:
        raise JobError(f"{place}: {shown} has no port that can be one.", remedy) from error
    if parts.scheme == "chdb" and not parts.netloc and len(parts.path) > 1 and not parts.query:
        directory = Path(unquote(parts.path))
        if not directory.is_dir():
            raise DataError(f"{place}, {shown}: there is no such directory.", "Correct the path.")
        return _Place(shown, {"interface": "chdb", "path": str(directory)}, directory)
    secure = parts.query == "secure=true"
    if parts.scheme != "clickhouse" or not parts.hostname or (parts.query and not secure):
        raise JobError(f"{place}: {shown} is no address of ClickHouse.", remedy)
    options: dict[str, object] = {
        "host": parts.hostname,
        "port": port or (8443 if secure else 8123),
        "interface": "https" if secure else "http",
        "connect_timeout": _CONNECT_SECONDS,
        "send_receive_timeout": _ANSWER_SECONDS,
        "autogenerate_session_id": False,
    }
    if database := unquote(parts.path.strip("/")):
        options["database"] = database
    return _Place(shown, options, None)


def _credentials(options: ClickHouseSource, request: Request) -> Mapping[str, str]:
    reference = options.secret_ref
    if reference is None:
        return {}
    values = request.secret(reference)
    return {key: secret_value(values, reference, key) for key in ("username", "password")}


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(value: Value) -> str:
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        micro = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return f"fromUnixTimestamp64Micro({micro}, 'UTC')"
    if isinstance(value, date):
        return f"toDate32('{value.isoformat()}')"
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return f"toDecimal256('{value}', {-exponent if isinstance(exponent, int) and exponent < 0 else 0})"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return repr(value)


def _explained(error: Any, place: str, said: str, options: ClickHouseSource) -> PresageError:  # noqa: ANN401  # untyped
    code = getattr(error, "code", None)
    if code in _REFUSED:
        secret = "it asks for some" if options.secret_ref is None else f"those of secret {options.secret_ref.name!r}"
        return JobError(
            f"{place}: ClickHouse refuses the credentials ({secret}).",
            "Set `secretRef` to a secret with the keys username and password, and correct those.",
        )
    if said.startswith(_NOT_OPENED):
        return PassingError(
            f"{place}: {said}", "Let one process at a time use a directory, and a process one directory at a time."
        )
    if code in _PASSING or (code is None and type(error).__name__ in ("OperationalError", "StreamFailureError")):
        return PassingError(f"{place}: ClickHouse does not answer, or breaks off: {said}", "Try again later.")
    if code in _FORBIDDEN:
        return DataError(f"{place}: {said}", "Grant the user SELECT on it.")
    if code in _MISSING:
        return DataError(f"{place}: {said}", "Correct the name in the job.")
    if code in _READ_ONLY:
        return DataError(f"{place}: {said}", "Write a SELECT that only reads.")
    return DataError(f"{place}: {said}", "Correct the table or the query.")
