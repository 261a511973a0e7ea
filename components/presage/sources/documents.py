"""Answers of servers as tables: JSON whose rows a pointer finds, CSV or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import polars as pl
from pydantic import JsonValue

from presage.errors import DataError
from presage.sources.contract import Part, Table
from presage.sources.download import Answer
from presage.sources.formats import parse
from presage.sources.quotes import quoted
from presage.spec.sources import HttpSource, Source

SYMBOL = "symbol"
"""The column that tells symbols apart."""

_HTML = (b"<!doctype html", b"<html")
_PARQUET = frozenset({"application/vnd.apache.parquet", "application/x-parquet"})
_LARGEST = 64 * 1024 * 1024
"""Bytes of JSON: as objects of Python it takes twenty times as much."""

_SHOWN = 10


def read_json(answer: Answer, place: str) -> JsonValue:
    """Return an answer as JSON whose numbers are text as they were written.

    Raises:
        DataError: It is no JSON, or larger than 64 MiB.
    """
    _refuse_html(answer, place, "JSON")
    if len(answer.content) > _LARGEST:
        problem = f"{place}: the answer is JSON of more than {_LARGEST // 1024**2} MiB."
        raise DataError(problem, "Ask for less at once by `span` or in pages, or read it as CSV.")
    try:
        text = answer.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: byte {error.start + 1} is no UTF-8 text.", "Ask for UTF-8.") from error
    try:
        # Numbers stay text, so that none loses digits; whether a cell is a number is judged for all sources alike.
        document: JsonValue = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(
            f"{place}: the answer is no JSON, or is cut off ({where}).", "Leave `records` out where it is CSV."
        ) from error
    except RecursionError as error:
        raise DataError(f"{place}: the JSON is nested too deeply.", "Name another address.") from error
    return document


def find(document: JsonValue, pointer: str, place: str) -> JsonValue:
    """Return what a JSON Pointer (RFC 6901) names, None where it leads nowhere.

    Raises:
        DataError: It is no pointer.
    """
    if pointer and not pointer.startswith("/"):
        raise DataError(f"{place}: {pointer!r} is no JSON Pointer.", f"Write /{pointer}, or '' for the whole answer.")
    value = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and len(name) < 10 and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def json_table(document: JsonValue, name: str, source: Source, options: HttpSource, symbol: str | None) -> Table:
    """Return the rows of a JSON answer as text cells.

    The pointer of `records` leads to a list of rows, or to an object that has one under each symbol. A row is an
    object, or a list whose columns are called 0, 1 and so on. Text that the source's `null_values` list is null; what
    lies deeper than a row is JSON text.

    Args:
        document: What `read_json` gave.
        name: The address as messages show it.
        source: The source, for its name in errors.
        options: Says where the rows are.
        symbol: What was asked for; its rows get it in the column `symbol`.

    Raises:
        DataError: There are no rows at the pointer, or they are of another shape.
    """
    pointer = options.records or ""
    place = f"source {source.name!r}, {name}"
    found = find(document, pointer, place)
    if found is None and not _names(document, pointer):
        raise DataError(f"{place}: the answer has nothing at {pointer!r}{_has(document)}.", "Correct `records`.")
    listed = dict(_rows_by_symbol(found, symbol, pointer, place))
    tables = [_frame(rows, options, place, of) for of, rows in listed.items() if rows]
    data = pl.concat(tables, how="diagonal") if tables else pl.DataFrame()
    series = SYMBOL if any(of is not None for of in listed) else None
    return Table(data, (Part(name, data.height),), series=series)


def file_table(answer: Answer, name: str, source: Source, options: HttpSource, symbol: str | None) -> Table:
    """Return the rows of a CSV or Parquet answer; the path's ending and the media type tell which under Auto.

    Args:
        answer: The answer.
        name: The address as messages show it.
        source: The source, for its name in errors.
        options: How its rows are read.
        symbol: What was asked for; its rows get it in the column `symbol`.

    Raises:
        DataError: It is empty, cut off, or not of the format.
    """
    place = f"source {source.name!r}, {name}"
    path = urlsplit(answer.url).path.lower().removesuffix(".gz")
    form = options.format
    if form == "Auto":
        form = "Parquet" if path.endswith(".parquet") or answer.media in _PARQUET else "CSV"
    if form == "CSV":
        _refuse_html(answer, place, "CSV")
        _refuse_json(answer, place)
    # The content is unpacked already, whatever the name ends in.
    shown = f"{name} (unpacked)" if name.lower().endswith(".gz") else name
    table = parse(answer.content, shown, options.model_copy(update={"format": form}), source)
    if symbol is None:
        return table
    return Table(table.data.with_columns(pl.lit(symbol).alias(SYMBOL)), table.parts, series=SYMBOL)


def _rows_by_symbol(
    found: JsonValue, symbol: str | None, pointer: str, place: str
) -> Iterator[tuple[str | None, list[JsonValue]]]:
    if found is None or found == {}:
        return
    if isinstance(found, list):
        yield symbol, found
    elif isinstance(found, dict) and symbol is not None and symbol in found:
        yield symbol, _list_of(found[symbol], f"{pointer}/{symbol}", place)
    elif isinstance(found, dict) and symbol is None:
        for of, rows in found.items():
            yield of, _list_of(rows, f"{pointer}/{of}", place)
    else:
        of = "" if symbol is None else f" of {symbol!r}"
        raise DataError(f"{place}: there are no rows{of} at {pointer!r}{_has(found)}.", "Correct `records`.")


def _list_of(rows: JsonValue, pointer: str, place: str) -> list[JsonValue]:
    if rows is None:
        return []
    if isinstance(rows, list):
        return rows
    raise DataError(f"{place}: at {pointer!r} stands {_kind(rows)}, no list of rows.", "Correct `records`.")


def _frame(rows: list[JsonValue], options: HttpSource, place: str, symbol: str | None) -> pl.DataFrame:
    cells = [_cells(row, number, place) for number, row in enumerate(rows)]
    _refuse_ragged(rows, place)
    names = dict.fromkeys(name for row in cells for name in row)
    nulls = frozenset(options.null_values)
    columns = {name: [_text(row.get(name), nulls) for row in cells] for name in names}
    if symbol is not None:
        columns[SYMBOL] = [symbol] * len(cells)
    try:
        return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String()))
    except (UnicodeEncodeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{place}: a text has half a character (UTF-16).", "Ask for UTF-8.") from error


def _cells(row: JsonValue, number: int, place: str) -> Mapping[str, JsonValue]:
    if isinstance(row, dict):
        return row
    if isinstance(row, list):
        return {str(column): cell for column, cell in enumerate(row)}
    raise DataError(
        f"{place}, row {number + 1}: {_kind(row)} stands where a row should be.",
        "Let `records` lead to a list of objects, or of lists.",
    )


def _refuse_ragged(rows: list[JsonValue], place: str) -> None:
    first = rows[0]
    for number, row in enumerate(rows):
        if isinstance(row, list) != isinstance(first, list):
            raise DataError(f"{place}, row {number + 1}: it is {_kind(row)}, row 1 is not.", "Correct `records`.")
        if isinstance(row, list) and isinstance(first, list) and len(row) != len(first):
            raise DataError(
                f"{place}, row {number + 1}: it has {len(row)} cells, and row 1 has {len(first)}.",
                "Name another address, or read the rows from a file.",
            )


def _text(cell: JsonValue, nulls: frozenset[str]) -> str | None:
    if cell is None:
        return None
    text = cell if isinstance(cell, str) else json.dumps(cell)
    return None if text in nulls else text


def _names(document: JsonValue, pointer: str) -> bool:
    """Return whether a pointer names something that is there, if only null."""
    parent, _, name = pointer.rpartition("/")
    above = find(document, parent, "")
    return isinstance(above, dict) and name.replace("~1", "/").replace("~0", "~") in above


def _has(value: JsonValue) -> str:
    if not isinstance(value, dict):
        return f"; it is {_kind(value)}"
    listing = ", ".join(quoted(name) for name in list(value)[:_SHOWN]) + (", ..." if len(value) > _SHOWN else "")
    return f"; it has {listing or 'no names'}"


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    kinds = {dict: "an object", list: "a list", bool: "true or false"}
    return kinds.get(type(value), "a text or number")


def _refuse_html(answer: Answer, place: str, wanted: str) -> None:
    if answer.content[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_HTML):
        raise DataError(
            f"{place}: the server answers with an HTML page in place of {wanted}.",
            "Open the address in a browser: it may ask to log in, or report an error.",
        )


def _refuse_json(answer: Answer, place: str) -> None:
    if answer.content[:512].lstrip()[:1] not in {b"{", b"["}:
        return
    try:
        json.loads(answer.content)
    except (ValueError, RecursionError):
        return
    raise DataError(f"{place}: the server answers with JSON in place of CSV.", "Say in `records` where its rows are.")
