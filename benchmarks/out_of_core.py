"""How much memory do 50 million one-minute rows take on their way to daily features?

The rows are real ones of two markets over four years, repeated with their times shifted by blocks of four years and
their prices scaled, a Parquet file a month. They go the way of `presage run`: files, rows, the lake in chunks, bars,
features. Then the same is done again, which finds nothing new. Generator and measured work are processes of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

LIMIT_BYTES = 2 << 30
BLOCK = timedelta(days=1461)
NOW = datetime(2019, 1, 2, tzinfo=UTC)
MARKETS = ("BTCUSD", "ETHUSD")
JOB = {
    "apiVersion": "presage.dev/v1alpha1",
    "kind": "PredictionJob",
    "metadata": {"name": "out-of-core"},
    "spec": {
        "frequency": "1d",
        "target": {"source": "minutes", "column": "close", "transform": "LogChange"},
        "sources": [
            {
                "name": "minutes",
                "file": {"uri": "*.parquet"},
                "series": "series",
                "frequency": "1m",
                "availability": {"lag": "0s"},
            }
        ],
        "features": [
            {"lag": {"columns": ["minutes.close"], "steps": [1, 7]}},
            {"logChange": {"columns": ["minutes.close", "minutes.volume"], "periods": [1, 7]}},
            {"rolling": {"columns": ["minutes.range_volatility"], "windows": [7, 30]}},
        ],
        "models": [{"name": "ridge"}],
    },
}


def generate(folder: Path, data: Path, rows: int) -> int:
    """Write month after month, the newest block first, until there are so many rows; return how many there are."""
    import polars as pl  # noqa: PLC0415  # the process that measures others stays small

    parts = []
    for market in MARKETS:
        files = sorted((data / "bitfinex_1m").glob(f"bitfinex_{market}_1m_*.csv.gz"))
        part = pl.concat(pl.read_csv(file) for file in files)
        times = pl.from_epoch(part["timestamp_ms"], "ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        values = part.select(pl.col("open", "high", "low", "close", "volume").cast(pl.Float64))
        parts.append(pl.select(series=pl.repeat(market, part.height), time=times).hstack(values))
    real = pl.concat(parts).sort("time")
    written = 0
    for block in range(rows // real.height + 1):
        if written >= rows:
            break
        scale = 1 + block / 8
        shifted = real.tail(rows - written).with_columns(
            pl.col("time") - block * BLOCK, pl.col("open", "high", "low", "close", "volume") * scale
        )
        months = shifted.with_columns(month=pl.col("time").dt.strftime("%Y-%m"))
        for (month,), part in months.partition_by("month", as_dict=True, include_key=False).items():
            path = folder / f"{month}.parquet"
            before = [pl.read_parquet(path)] if path.exists() else []
            pl.concat([part, *before]).write_parquet(path)
        written += shifted.height
    return written


def work(folder: Path) -> dict[str, float]:
    """Take the files into the lake twice and make features each time; return what it took."""
    from presage.features.build import build_frames  # noqa: PLC0415  # as above
    from presage.lake.tables import Lake  # noqa: PLC0415  # as above
    from presage.spec.job import PredictionJob  # noqa: PLC0415  # as above
    from presage.steps.ingest import ingest  # noqa: PLC0415  # as above

    job = PredictionJob.model_validate(JOB)
    lake = Lake(str(folder / "lake"))
    found: dict[str, float] = {}
    for name in ("first", "again"):
        began, cpu = time.perf_counter(), time.process_time()
        ingested = ingest(job, lake, base=folder, now=NOW)
        frames = build_frames(job.spec, ingested.bars)
        found[f"{name}_seconds"] = time.perf_counter() - began
        found[f"{name}_cpu_seconds"] = time.process_time() - cpu
        found[f"{name}_peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        found["rows"] = ingested.tables["minutes"].rows
        found["bars"] = ingested.bars["minutes"].rows.height
        found["origins"] = sum(map(len, frames))
        found["features"] = len(frames[0].feature_names)
    return found


def main() -> int:
    """Run the benchmark and print its numbers; return 1 where the memory is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--directory", type=Path, help="where the files are made; default: a temporary folder")
    parser.add_argument("--step", choices=("generate", "work"), help=argparse.SUPPRESS)
    words = parser.parse_args()
    default = Path(__file__).parents[2] / "shared" / "data"
    if words.step == "generate":
        print(generate(words.directory, Path(os.environ.get("PRESAGE_SHARED_DATA", default)), words.rows))
        return 0
    if words.step == "work":
        print(json.dumps(work(words.directory)))
        return 0
    with tempfile.TemporaryDirectory(dir=words.directory) as folder:
        for step in ("generate", "work"):
            command = [sys.executable, __file__, "--step", step, "--rows", str(words.rows), "--directory", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
    print(f"{found['rows']:,.0f} rows -> {found['bars']:,.0f} daily bars -> {found['features']:.0f} features")
    for name in ("first", "again"):
        print(
            f"{name:>6}: {found[f'{name}_seconds']:7.1f} s, {found[f'{name}_cpu_seconds']:7.1f} s of CPU, "
            f"peak {found[f'{name}_peak_bytes'] / (1 << 20):,.0f} MiB"
        )
    peak = found["again_peak_bytes"]
    verdict = "ok" if peak < LIMIT_BYTES else "TOO MUCH"
    print(f"peak {peak / (1 << 30):.2f} GiB of {LIMIT_BYTES / (1 << 30):.0f} GiB: {verdict}")
    return int(peak >= LIMIT_BYTES or found["rows"] != words.rows)


if __name__ == "__main__":
    sys.exit(main())
