"""Names in a job that stand for its sources and their columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from presage.spec.faults import Fault
from presage.spec.places import Place, select
from presage.spec.schema import job_shape
from presage.spec.words import nearest, show

RANGE_VOLATILITY = "range_volatility"
"""The one column that is made of others; see the target's description."""

_COLUMNS = (
    "spec.features.*.*.columns.*",
    "spec.features.*.*.numerator",
    "spec.features.*.*.denominator",
    "spec.features.*.*.price",
    "spec.features.*.*.reference",
)


@dataclass(frozen=True)
class _Declared:
    names: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]

    def source(self, place: Place, name: str, column: str = "") -> Iterator[Fault]:
        """Give a fault where no source has the name; with a column, both are one text: name, dot, column."""
        if name not in self.names:
            dotted = f".{column}" if column else ""
            close = nearest(name, self.names)
            allowed = f"a declared source: {', '.join(self.names)}"
            yield Fault(place, show(name + dotted), allowed, close + dotted if close else "")

    def column(self, place: Place, name: str, column: str, *, dotted: bool = False) -> Iterator[Fault]:
        """Give a fault where the source lists its columns and this is none of them."""
        columns = self.columns.get(name)
        if columns is not None and column not in (*columns, RANGE_VOLATILITY):
            prefix = f"{name}." if dotted else ""
            close = nearest(column, columns)
            allowed = f"a column that {name} keeps: {', '.join(columns)}"
            yield Fault(place, show(prefix + column), allowed, prefix + close if close else "")


def reference_faults(content: JsonValue) -> Iterator[Fault]:
    """Give every name of a source that is not declared, and of a column that its source does not keep.

    Columns are known only where a source lists them; the others' show when they are read.
    """
    declared = _declared(content)
    if declared is None:
        return
    for place, value in select(content, "spec.target.source", "spec.features.*.rangeVolatility.sources.*"):
        yield from declared.source(place, str(value))
    for place, value in select(content, *_COLUMNS):
        source, dot, column = str(value).partition(".")
        if dot:
            yield from declared.source(place, source, column)
            yield from declared.column(place, source, column, dotted=True)
    for _, target in select(content, "spec.target.source"):
        for place, value in select(content, "spec.target.column"):
            yield from declared.column(place, str(target), str(value))
    for number, name in enumerate(declared.names):
        for place, _ in select(content, f"spec.sources.{number}.units.*", f"spec.sources.{number}.aggregation.*"):
            yield from declared.column(place, name, str(place[-1]))


def _declared(content: JsonValue) -> _Declared | None:
    """Return what is declared, or None where a name is not right: nobody can tell then what refers to none."""
    shape = job_shape().at(("spec", "sources", 0, "name"))
    pattern = re.compile(shape.pattern if shape else "")
    sources = [part for _, part in select(content, "spec.sources.*")]
    names: list[str] = []
    columns: dict[str, tuple[str, ...]] = {}
    for source in sources:
        name = source.get("name") if isinstance(source, dict) else None
        if not isinstance(source, dict) or not isinstance(name, str) or not pattern.search(name):
            return None
        names.append(name)
        kept = source.get("columns")
        if isinstance(kept, dict) and kept:
            columns[name] = tuple(kept)
    return _Declared(tuple(dict.fromkeys(names)), columns) if names else None
