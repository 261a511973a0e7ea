"""The examples on a platform: the same jobs, their data in its bucket and its database, and what must come of each."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

_EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"
LAKE_SECRET, RESULTS_SECRET = "presage-lake", "presage-results"
DATA_BUCKET = "market-data"
MACRO = {"treasury": "DGS10", "money": "M2SL", "prices": "CPIAUCSL"}


@dataclass(frozen=True)
class Expected:
    """What a job on the platform comes to.

    Attributes:
        job: The job as an object.
        promoted: Status and reason of its condition Promoted.
    """

    job: dict
    promoted: tuple[str, str]


def objects(shared: Path) -> Mapping[str, bytes]:
    """Return the real data that go into the bucket, by key."""
    return {
        "btc.csv": (shared / "kraken_daily" / "Kraken_BTCUSD_d.csv").read_bytes(),
        "chain.csv.gz": (shared / "coinmetrics_community" / "coinmetrics_btc.csv.gz").read_bytes(),
        "trips.csv.gz": (shared / "chicago_taxi" / "data.csv.gz").read_bytes(),
    }


def macro_rows(shared: Path, name: str) -> list[tuple[str, str]]:
    """Return day and value of a macro-economic series."""
    with gzip.open(shared / "fred_macro" / f"{name}_to2023.csv.gz", "rt", encoding="utf-8") as lines:
        _, *rows = (line.strip().split(",") for line in lines)
    return [(day, value) for day, value, *_ in rows if value not in ("", ".")]


def jobs(minio: str, mysql: str) -> Mapping[str, Expected]:
    """Return the jobs by name, with their data on the platform.

    Args:
        minio: Address of its object store.
        mysql: Host and port of its database.
    """

    def in_bucket(key: str, **options: object) -> Callable[[dict], None]:
        def place(source: dict) -> None:
            skipped = source.pop("http").get("skipRows")
            place = {"uri": f"s3://{DATA_BUCKET}/{key}", "endpoint": minio, "secretRef": {"name": LAKE_SECRET}}
            source["s3"] = place | ({"skipRows": skipped} if skipped else {}) | options

        return place

    def in_database(source: dict) -> None:
        del source["http"]
        uri = f"mysql+pymysql://{mysql}/presage"
        source["sql"] = {"uri": uri, "table": source["name"], "secretRef": {"name": RESULTS_SECRET}}

    chain = in_bucket("chain.csv.gz")
    macro = dict.fromkeys(MACRO, in_database)
    trips = {"trips": in_bucket("trips.csv.gz")}
    sink = {
        "name": "results",
        "sql": {"uri": f"mysql+pymysql://{mysql}/presage", "secretRef": {"name": RESULTS_SECRET}},
    }
    found = {
        "quickstart": Expected(_example("quickstart", {}), ("True", "BetterThanBaseline")),
        "sp500-return": Expected(_example("sp500-return", {}), ("False", "NotBetterThanBaseline")),
        "btc-daily": Expected(
            _example("btc-daily", {"btc": in_bucket("btc.csv"), "chain": chain} | macro),
            ("False", "NotBetterThanBaseline"),
        ),
        "btc-monthly": Expected(_example("btc-monthly", {"chain": chain} | macro), ("False", "InsufficientEvidence")),
        "chicago-taxi-fare": Expected(_example("chicago-taxi-fare", trips), ("True", "BetterThanBaseline")),
    }
    found["quickstart"].job["spec"]["sinks"] = [sink]
    return found


def _example(name: str, places: Mapping[str, Callable[[dict], None]]) -> dict:
    job = yaml.safe_load((_EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    for source in job["spec"]["sources"]:
        if place := places.get(source["name"]):
            place(source)
    return job
