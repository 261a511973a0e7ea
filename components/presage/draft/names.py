"""Names that a job can carry: of the source, of the job, and of columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

from presage.frame import INGESTED_AT, KEY

LONGEST_COLUMN = 128
_LONGEST_SOURCE = 63
_LONGEST_JOB = 53
_TAKEN = frozenset({*KEY, INGESTED_AT, "filled", "row"})
_ADDED = "_value"
_ENDINGS = (".gz", ".csv", ".tsv", ".txt", ".parquet", ".pq")


def source_name(table: Path) -> str:
    """Return a name for the source of a file: letters, digits and underscores, a letter first."""
    words = "_".join(_words(_stem(table)))
    name = words if words[:1].isalpha() else f"table_{words}"
    return name[:_LONGEST_SOURCE].strip("_")


def job_name(table: Path, column: str) -> str:
    """Return a name for the job that predicts a column of a file: letters, digits and dashes."""
    name = "-".join([*_words(_stem(table)), *_words(column)])
    return name[:_LONGEST_JOB].strip("-") or "forecast"


def value_names(columns: Iterable[str], keys: Collection[str]) -> dict[str, str]:
    """Return, by a table's column, the name under which a job can refer to it; most keep their own.

    Presage keeps some names for itself, and to the lake names that differ in case alone are the same. A column without
    a name, or with too long a one, is left out: a job cannot name it.

    Args:
        columns: Names of a table's columns.
        keys: The columns that are no values, such as that of times.
    """
    names: dict[str, str] = {}
    taken = set(_TAKEN)
    for column in columns:
        if column in keys or not 0 < len(column) <= LONGEST_COLUMN:
            continue
        name = " ".join(column.split()) if "\n" in column else column
        while not name or name in keys or name.lower() in taken:
            name = f"{name[: LONGEST_COLUMN - len(_ADDED)]}{_ADDED}"
        taken.add(name.lower())
        names[column] = name
    return names


def _stem(table: Path) -> str:
    name = table.name
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z0-9]+", plain)
