"""Files on a disk: CSV or Parquet, one or many."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from presage.errors import DataError
from presage.sources.contract import Request, Table
from presage.sources.formats import read_file
from presage.spec.sources import Source

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_FILE = re.compile(r"^file://(localhost)?(?=/)", re.IGNORECASE)


def read(source: Source, request: Request) -> Iterator[Table]:
    """Read the file, or all files that match; see `tables`."""
    return tables(source, request.base)


def tables(source: Source, base: Path) -> Iterator[Table]:
    """Read the file, or all files that match, in the order of their names; each is a table.

    Args:
        source: A source of kind `file`.
        base: Folder that a relative path starts from.

    Raises:
        DataError: The location is no path or file:// URI, nothing is there, or what is there cannot be read.
    """
    options = source.file
    if options is None:
        raise ValueError(f"source {source.name!r} is no file")
    place = f"source {source.name!r}, {options.uri}"
    base = base.resolve()
    try:
        for file in _matches(_location(options.uri, base, place), place):
            yield read_file(file, _shown(file, base), options, source)
    except PermissionError as error:
        problem = f"{place}: not allowed to read {error.filename}."
        raise DataError(problem, "Give yourself the right to read it (chmod, chown).") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: cannot be read ({error}).", "Check the path.") from error


def _location(uri: str, base: Path, place: str) -> Path:
    if _FILE.match(uri):
        return Path(unquote(_FILE.sub("", uri)))
    if _SCHEME.match(uri):
        raise DataError(
            f"{place}: a file is a plain path or a file:///path URI.",
            "Use the source kind for that scheme, such as s3 or http.",
        )
    return base / uri


def _matches(path: Path, place: str) -> list[Path]:
    if path.is_dir():
        raise DataError(f"{place}: this is a folder.", "Name its files, such as folder/*.csv.")
    if path.is_file():
        return [path]
    if path.exists():
        raise DataError(f"{place}: this is no regular file.", "Name a CSV or Parquet file.")
    if "*" not in str(path):
        raise DataError(f"{place}: there is no such file.", f"Put one at {path}, or correct the path.")
    # Only the star is special: brackets and question marks are parts of names.
    pattern = glob.escape(str(path)).replace("[*]", "*")
    found = {Path(match) for match in glob.glob(pattern, recursive=True)}  # noqa: PTH207  # pathlib's finds hidden files
    files = sorted(file for file in found if file.is_file())
    if not files:
        raise DataError(f"{place}: no file matches.", f"Put files at {path}, or correct the pattern.")
    return files


def _shown(file: Path, base: Path) -> str:
    return str(file.relative_to(base)) if file.is_relative_to(base) else str(file)
