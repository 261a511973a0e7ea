"""A double of the FRED web service: observations of a series as text, for who has a key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from doubles.web import Asked, Reply, Site, site

PATH = "/fred/series/observations"
KEY = "0123456789abcdef0123456789abcdef"
NO_VALUE = "."


@contextmanager
def fred_double(series: Mapping[str, Sequence[tuple[str, str]]]) -> Iterator[Site]:
    """Serve series, each of dates and values, at `/fred/series/observations`; unchanged ones are 304."""

    def answer(asked: Asked) -> Reply:
        query = asked.query
        if asked.path != PATH:
            return Reply(status=404)
        if query.get("api_key") != KEY:
            return _refused("Bad Request.  The value for variable api_key is not registered.")
        if query.get("series_id") not in series:
            return _refused("Bad Request.  The series does not exist.")
        first, last = query.get("observation_start", "1776-07-04"), query.get("observation_end", "9999-12-31")
        rows = [
            {"realtime_start": "2024-01-05", "realtime_end": "2024-01-05", "date": date, "value": value or NO_VALUE}
            for date, value in series[query["series_id"]]
            if first <= date <= last
        ]
        body = json.dumps({"units": "lin", "count": len(rows), "observations": rows}).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if asked.headers.get("if-none-match") == tag:
            return Reply(status=304, headers={"ETag": tag})
        return Reply(body, headers={"Content-Type": "application/json; charset=UTF-8", "ETag": tag})

    with site(answer) as running:
        yield running


def _refused(message: str) -> Reply:
    return Reply(json.dumps({"error_code": 400, "error_message": message}).encode(), 400)
