"""Bytes of a CSV or Parquet file as a table."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from presage.errors import DataError, SourceUnavailableError
from presage.sources.columns import needed_columns, needed_names, require_columns
from presage.sources.contract import Part, Table
from presage.sources.dtypes import is_pattern, likely_dtypes, surely_read
from presage.sources.parquet import read_parquet
from presage.spec.sources import Source, TableOptions

_AGAIN = "Get the file again."
_GLANCE = 100
"""Rows that tell what a column likely holds."""

_PIECE = 1 << 24
"""Bytes that are decoded at a time, to see whether they are text."""

_RENAMED = re.compile(r"_duplicated_\d+$")


def parse(content: bytes, name: str, options: TableOptions, source: Source) -> Table:
    """Return the rows of one file.

    The cells of a CSV are text, except in columns that the source needs as numbers and that hold nothing else.

    Args:
        content: The file's bytes.
        name: The file's name as the user knows it; .gz bytes are unpacked, and it tells the format under Auto.
        options: How its rows are read.
        source: The source, for its name in errors.

    Raises:
        DataError: The bytes are empty, cut off, or not of the format.
    """
    place = f"source {source.name!r}, {name}"
    plain = name.lower().removesuffix(".gz")
    if plain != name.lower():
        content = _unpack(content, place)
    if not content or content.isspace():
        raise DataError(f"{place}: the file is empty.", _AGAIN)
    if _is_parquet(plain, options):
        return _parse_parquet(lambda: pa.BufferReader(content), name, place, source)
    return _with_possible_names(_parse_csv(content, name, options, place, source), place)


def read_file(path: Path, name: str, options: TableOptions, source: Source) -> Table:
    """Return the rows of one file on a disk, as `parse` does of its bytes; those of Parquet are never all in memory.

    Raises:
        DataError: As `parse`.
        OSError: The file cannot be read.
        SourceUnavailableError: It was replaced or written to while it was read.
    """
    if name.lower().endswith(".gz") or not _is_parquet(name.lower(), options):
        return parse(path.read_bytes(), name, options, source)
    place = f"source {source.name!r}, {name}"
    with path.open("rb") as file:
        if not file.read(1):
            raise DataError(f"{place}: the file is empty.", _AGAIN)
        found = _state(os.fstat(file.fileno()))

    def same(state: os.stat_result) -> None:
        if _state(state) != found:
            raise SourceUnavailableError(f"{place}: the file was changed while it was read.", "Run again.")

    def opened() -> pa.NativeFile:
        handle = pa.OSFile(str(path))
        same(os.fstat(handle.fileno()))
        return handle

    table = _parse_parquet(opened, name, place, source)
    same(path.stat())
    return table


def _state(state: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells a file from one that took its place, and from itself with other content."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _is_parquet(name: str, options: TableOptions) -> bool:
    return options.format == "Parquet" or (options.format == "Auto" and name.endswith(".parquet"))


def _with_possible_names(table: Table, place: str) -> Table:
    for column in table.data.columns:
        if is_pattern(column):
            raise DataError(f"{place}: {column!r} cannot be a column's name.", "Rename the column in the file.")
    return table


def join(tables: Sequence[Table], source: Source) -> Table:
    """Return the rows of several tables of a source, one at least, below each other; the order of columns may differ.

    Raises:
        DataError: A table lacks a column that the source needs or, without `columns`, one that another one has.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    needed = needed_columns(source, first)
    for table in tables:
        name, present = table.parts[0].name, table.data.columns
        require_columns(source, needed, present, name)
        odd = sorted(set(present) ^ set(first.data.columns))
        if odd and not source.columns:
            raise DataError(
                f"source {source.name!r}: {name} and {first.parts[0].name} differ in column {odd[0]!r}.",
                "Name the columns to keep in `columns`.",
            )
    try:
        data = pl.concat([table.data for table in tables], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"source {source.name!r}: a column is of different types in its files: {error}.",
            "Write it with one type in all files.",
        ) from error
    parts = tuple(part for table in tables for part in table.parts)
    return Table(data, parts, first.time, first.series, tables[-1].bookmark)


def _unpack(content: bytes, place: str) -> bytes:
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise DataError(f"{place}: the gzip file is cut off before its end.", _AGAIN) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{place}: the file is no gzip, or is damaged ({error}).", "Get the file again, or drop the .gz ending."
        ) from error


def _parse_parquet(opened: Callable[[], pa.NativeFile], name: str, place: str, source: Source) -> Table:
    # polars' own reader brings the process down to a Rust panic on some damaged files; Arrow's checks what it reads.
    try:
        data = read_parquet(opened, place, repeated=source.series, needed=needed_names(source))
    except (
        pa.ArrowException,
        OverflowError,
        ValueError,
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
    ) as error:
        raise _damaged(place) from error
    except OSError as error:
        # Arrow's own faults of the content have no number, those of the disk do.
        if error.errno is not None:
            raise
        raise _damaged(place) from error
    return _with_possible_names(Table(data, (Part(name, data.height),)), place)


def _damaged(place: str) -> DataError:
    return DataError(
        f"{place}: the file is no Parquet, or is cut off or damaged.",
        "Get the file again, or set `format: CSV` where it is text.",
    )


def _parse_csv(content: bytes, name: str, options: TableOptions, place: str, source: Source) -> Table:
    _require_text(content, place)
    if not options.delimiter.isascii():
        raise DataError(
            f"{place}: {options.delimiter!r} cannot stand between cells.", "Set `delimiter` to one of ; , | or a tab."
        )
    try:
        data = _read_cells(content, options, source)
    except pl.exceptions.NoDataError as error:
        raise DataError(f"{place}: no header below the {options.skip_rows} lines of `skipRows`.", _AGAIN) from error
    except pl.exceptions.PolarsError as error:
        raise _explain(content, options, place) from error
    names = [column.strip() for column in data.columns]
    for column in names:
        if names.count(column) > 1:
            raise DataError(f"{place}: the header names column {column!r} twice.", "Rename one of the two.")
    data.columns = names
    for column in names:
        if (twice := _RENAMED.sub("", column)) != column and twice in data.columns:
            raise DataError(f"{place}: the header names column {twice!r} twice.", "Rename one of the two.")
    first_line = _header_line(content, options.skip_rows) + 1
    _refuse_cut_line(content, data, options, place)
    return Table(data, (Part(name, data.height, first_line),))


def _read_cells(content: bytes, options: TableOptions, source: Source) -> pl.DataFrame:
    """Return the cells, as numbers where a whole column can be nothing else, and as text where any cell cannot."""

    def read(dtypes: Mapping[str, pl.DataType], rows: int | None = None) -> pl.DataFrame:
        return pl.read_csv(
            content,
            separator=options.delimiter,
            skip_lines=options.skip_rows,
            null_values=list(options.null_values),
            infer_schema=False,
            schema_overrides=dtypes,
            n_rows=rows,
        )

    dtypes = likely_dtypes(read({}, _GLANCE), source, quotes=b'"' in content)
    try:
        cells = read(dtypes) if dtypes else None
    except pl.exceptions.PolarsError:
        cells = None
    return cells if cells is not None and surely_read(cells, source) else read({})


def _header_line(content: bytes, skip: int) -> int:
    stream = io.BytesIO(content)
    line = skip + 1
    for _ in range(skip):
        stream.readline()
    while stream.readline() in (b"\n", b"\r\n"):
        line += 1
    return line


def _refuse_cut_line(content: bytes, data: pl.DataFrame, options: TableOptions, place: str) -> None:
    if content.endswith((b"\n", b"\r")) or data.is_empty() or data[-1, -1] is not None:
        return
    last = content[content.rfind(b"\n") + 1 :].decode()
    if last.count('"') % 2 and content.count(b'"') % 2:
        raise DataError(f"{place}: the file is cut off in a quoted cell of the last line.", _AGAIN)
    cells = len(next(csv.reader([last], delimiter=options.delimiter), []))
    if 0 < cells < data.width:
        raise DataError(
            f"{place}: the last line has {cells} of {data.width} cells, so the file is cut off.",
            "Get the file again, or take the line out.",
        )


def _require_text(content: bytes, place: str) -> None:
    # polars would unpack compressed bytes by itself, and take those of a cut-off file for whole.
    odd = content.find(b"\0")
    cause = None
    if not content.isascii():
        decoder = codecs.getincrementaldecoder("utf-8")()
        for start in range(0, len(content), _PIECE):
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(content[start : start + _PIECE], final=start + _PIECE >= len(content))
            except UnicodeDecodeError as error:
                odd, cause = start - waiting + error.start, error
                break
    if odd >= 0:
        line = content.count(b"\n", 0, odd) + 1
        raise DataError(
            f"{place}, line {line}: the file is no UTF-8 text.",
            "Save it as UTF-8; set `format: Parquet` for Parquet, and end a gzip file's name in .gz.",
        ) from cause


def _explain(content: bytes, options: TableOptions, place: str) -> DataError:
    below = io.StringIO(content.decode("utf-8-sig"), newline="")
    for _ in range(options.skip_rows):
        below.readline()
    reader = csv.reader(below, delimiter=options.delimiter, strict=True)
    width = 0
    try:
        for cells in reader:
            width = width or len(cells)
            if len(cells) > width:
                line = options.skip_rows + reader.line_num
                return DataError(
                    f"{place}, line {line}: {len(cells)} cells, but the header has {width}.",
                    "Correct the line; set `skipRows` to the lines above the header, `delimiter` to what parts cells.",
                )
    except csv.Error as error:
        problem = f"line {options.skip_rows + reader.line_num}: {error}"
        return DataError(f"{place}, {problem}.", "Correct the line: a quote that opens a cell must be closed.")
    return DataError(f"{place}: the file is no CSV with {options.delimiter!r} between cells.", "Set `delimiter`.")
