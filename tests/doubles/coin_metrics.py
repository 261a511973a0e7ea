"""A double of the Coin Metrics API: metrics of an asset in pages, each of which names the next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlencode

from doubles.web import Asked, Reply, Site, site

PATH = "/v4/timeseries/asset-metrics"


@contextmanager
def coin_metrics_double(assets: Mapping[str, Sequence[Mapping[str, str]]], *, page_size: int = 1000) -> Iterator[Site]:
    """Serve rows of assets, each with its `time`; a metric that was not measured is null."""

    def answer(asked: Asked) -> Reply:
        query = asked.query
        if asked.path != PATH:
            return Reply(status=404)
        asset, metrics = query["assets"], query["metrics"].split(",")
        start, end = query.get("start_time", ""), query.get("end_time", "9999")
        rows = [
            {"asset": asset, "time": f"{row['time']}T00:00:00.000000000Z"}
            | {metric: row[metric] or None for metric in metrics}
            for row in assets[asset]
            if start <= row["time"] <= end
        ]
        first = int(query.get("next_page_token", "0"))
        page: dict[str, object] = {"data": rows[first : first + page_size]}
        if first + page_size < len(rows):
            following = dict(query) | {"next_page_token": str(first + page_size)}
            page |= {
                "next_page_token": str(first + page_size),
                "next_page_url": f"http://{asked.headers['host']}{PATH}?{urlencode(following)}",
            }
        return Reply(json.dumps(page).encode(), headers={"Content-Type": "application/json"})

    with site(answer) as running:
        yield running
