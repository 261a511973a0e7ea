"""A query that a user wrote: one statement that reads."""

from __future__ import annotations

import re

from presage.errors import JobError

# Quoted text and comments, in which words and semicolons mean nothing.
_ASIDE = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$""", re.DOTALL
)
_READS = re.compile(r"[\s(]*(select|with|values|table)\b", re.IGNORECASE)
_INTO_FILE = re.compile(r"\binto\s+(outfile|dumpfile)\b", re.IGNORECASE)


def readable_query(query: str, place: str) -> str:
    """Return a query without the semicolon at its end; raises JobError unless it is one statement that reads.

    The database has the last word: the session that the query runs in may only read.
    """
    bare = query.strip().rstrip(";").rstrip()
    told = _ASIDE.sub(" ", bare)
    if not _READS.match(told) or ";" in told or _INTO_FILE.search(told):
        raise JobError(f"{place}: the query is not one SELECT.", "Write one SELECT statement that only reads.")
    return bare
