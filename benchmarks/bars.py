"""How fast millions of one-minute rows become daily bars, beside pandas, Polars, DuckDB and chdb.

    python benchmarks/bars.py [--quick] [--rows N] [--repeats N]

The rows are real ones: Bitfinex's minutes of bitcoin and ether, repeated with shifted times until they are seven
million, every twentieth of them given twice with other values, all shuffled by a seed; as one CSV and one Parquet file.
Of rows with the same series and time the last of the file holds. From the file, each contestant makes the daily open,
high, low, close and volume of both series; ours as `presage run` does: the file's adapter, the rows with all that is
judged of them, the closed bars with their gaps and when each was known.

Each measurement is a process of its own; contestants take turns, and each figure is the median of its turns. What is
measured is from the open interpreter, libraries loaded, to the bars; memory is the process's peak, libraries included.
The bars must be equal: prices to the bit, volumes to a relative 1e-9, because the order of a sum is free.

On a busy machine trust the CPU seconds; wall seconds wait for a free core. Exit code 1 if a bound is broken.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import polars as pl
from bounds import bound

ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("PRESAGE_SHARED_DATA", ROOT.parent / "shared" / "data"))
ROWS = 7_000_000
QUICK_ROWS = 700_000
REPEATS = 3
SEED = 7
ALSO_EARLIER = 20
"""Of so many rows one stands in the file twice."""

DAY_MILLISECONDS = 86_400_000
PRICES = ("open", "high", "low", "close")
LATER = datetime(2100, 1, 1, tzinfo=UTC)

PARQUET_PANDAS = 10.0
PARQUET_BEST = 1.5
CSV_PANDAS = 4.0
CSV_BEST = 1.0
MEMORY = 1.5
GROWTH = 11.0


@dataclass(frozen=True)
class Turn:
    """One measurement: seconds, and the peak of memory in megabytes."""

    wall: float
    cpu: float
    peak: float


@dataclass
class Stopwatch:
    """What a contestant measures of itself."""

    turns: list[Turn] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), _cpu_seconds()
        yield
        wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
        self.turns.append(Turn(wall, cpu, _peak_megabytes()))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_megabytes() -> float:
    # The kernel's own figure of this process; getrusage would tell the parent's where that was larger.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def presage_bars(path: Path, watch: Stopwatch) -> pl.DataFrame:
    from presage.bars import build_bars  # noqa: PLC0415
    from presage.sources.contract import Request  # noqa: PLC0415
    from presage.sources.rows import read_rows  # noqa: PLC0415
    from presage.spec.base import Frequency  # noqa: PLC0415
    from presage.spec.sources import Source  # noqa: PLC0415

    source = Source.model_validate(
        {
            "name": "bitfinex",
            "file": {"uri": str(path)},
            "time": "timestamp_ms",
            "timeUnit": "ms",
            "series": "symbol",
            "columns": {name: name for name in (*PRICES, "volume")},
            "frequency": "1m",
            "availability": {"lag": "0s"},
        }
    )
    day = Frequency(1, "d")
    with watch.running():
        given = read_rows(source, Request(base=path.parent, frequency=day, end=LATER))
        bars = build_bars(
            source, given.rows, frequency=day, calendar="Auto", now=LATER, duplicates=given.duplicates
        ).rows
    return bars.select(pl.col("series").alias("symbol"), pl.col("time").dt.date().alias("day"), *PRICES, "volume")


def pandas_bars(path: Path, watch: Stopwatch) -> pl.DataFrame:
    import pandas as pd  # noqa: PLC0415

    with watch.running():
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        rows = rows.drop_duplicates(["symbol", "timestamp_ms"], keep="last").sort_values(["symbol", "timestamp_ms"])
        rows["day"] = pd.to_datetime(rows["timestamp_ms"], unit="ms").dt.floor("D")
        how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        bars = rows.groupby(["symbol", "day"], sort=True).agg(how).reset_index()
    return _aligned(pl.from_pandas(bars))


def _polars_scan(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path)


def _polars_day() -> pl.Expr:
    return (pl.col("timestamp_ms") // DAY_MILLISECONDS).cast(pl.Int32).cast(pl.Date).alias("day")


def polars_unique_bars(path: Path, watch: Stopwatch) -> pl.DataFrame:
    with watch.running():
        bars = (
            _polars_scan(path)
            .unique(["symbol", "timestamp_ms"], keep="last", maintain_order=False)
            .group_by("symbol", _polars_day())
            .agg(
                pl.col("open").get(pl.col("timestamp_ms").arg_min()),
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").get(pl.col("timestamp_ms").arg_max()),
                pl.col("volume").sum(),
            )
            .collect(engine="streaming")
        )
    return _aligned(bars)


def polars_sorted_bars(path: Path, watch: Stopwatch) -> pl.DataFrame:
    with watch.running():
        key = ("symbol", "timestamp_ms")
        last = pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in key).fill_null(value=True)
        bars = (
            _polars_scan(path)
            .sort(key, maintain_order=True)
            .filter(last)
            .group_by("symbol", _polars_day(), maintain_order=True)
            .agg(
                pl.col("open").first(),
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").last(),
                pl.col("volume").sum(),
            )
            .collect()
        )
    return _aligned(bars)


def duckdb_bars(path: Path, watch: Stopwatch) -> pl.DataFrame:
    import duckdb  # noqa: PLC0415

    if path.suffix == ".parquet":
        rows = f"SELECT *, file_row_number AS place FROM read_parquet('{path}', file_row_number = true)"
    else:
        rows = f"SELECT *, row_number() OVER () AS place FROM read_csv('{path}')"
    with watch.running(), duckdb.connect() as connection:
        answer = connection.execute(
            f"""
            WITH minutes AS (
              SELECT symbol, timestamp_ms,
                     arg_max({{open: open, high: high, low: low, close: close, volume: volume}}, place) AS kept
              FROM ({rows}) GROUP BY symbol, timestamp_ms
            )
            SELECT symbol, timestamp_ms // {DAY_MILLISECONDS} AS day,
                   arg_min(kept.open, timestamp_ms) AS open, max(kept.high) AS high, min(kept.low) AS low,
                   arg_max(kept.close, timestamp_ms) AS close, sum(kept.volume) AS volume
            FROM minutes GROUP BY ALL
            """
        )
        names = [column[0] for column in answer.description]
        bars = pl.DataFrame(answer.fetchall(), schema=names, orient="row")
    return _aligned(bars)


def chdb_bars(path: Path, watch: Stopwatch) -> pl.DataFrame:
    import chdb  # noqa: PLC0415

    kind = "Parquet" if path.suffix == ".parquet" else "CSVWithNames"
    with watch.running():
        answer = chdb.query(
            f"""
            SELECT symbol, intDiv(timestamp_ms, {DAY_MILLISECONDS}) AS day,
                   argMin(kept.1, timestamp_ms) AS open, max(kept.2) AS high, min(kept.3) AS low,
                   argMax(kept.4, timestamp_ms) AS close, sum(kept.5) AS volume
            FROM (
              SELECT symbol, timestamp_ms, argMax((open, high, low, close, volume), _row_number) AS kept
              FROM file('{path}', {kind}) GROUP BY symbol, timestamp_ms
            )
            GROUP BY symbol, day
            """,
            "Arrow",
        )
        bars = pl.read_ipc(answer.bytes())
    return _aligned(bars)


def _aligned(bars: pl.DataFrame) -> pl.DataFrame:
    day = pl.col("day").cast(pl.Int32).cast(pl.Date) if bars["day"].dtype.is_integer() else pl.col("day").cast(pl.Date)
    symbol = pl.col("symbol").cast(pl.Binary).cast(pl.String) if bars["symbol"].dtype == pl.Binary else pl.col("symbol")
    return bars.select(symbol.cast(pl.String), day, *PRICES, "volume").sort("symbol", "day")


CONTESTANTS: Mapping[str, Callable[[Path, Stopwatch], pl.DataFrame]] = {
    "presage": presage_bars,
    "polars, unique": polars_unique_bars,
    "polars, sorted": polars_sorted_bars,
    "duckdb": duckdb_bars,
    "chdb": chdb_bars,
    "pandas": pandas_bars,
}


def write_minutes(folder: Path, count: int) -> list[Path]:
    """Write the rows as CSV and Parquet, and return where."""
    series = [_repeated("BTCUSD", count // 2), _repeated("ETHUSD", count - count // 2)]
    rows = pl.concat(series)
    earlier = rows.gather_every(ALSO_EARLIER).with_columns(
        pl.col("open"), pl.col("low"), pl.col("high"), pl.col("low").alias("close"), pl.col("volume") / 2
    )
    rows = pl.concat([rows, earlier]).sample(fraction=1.0, shuffle=True, seed=SEED)
    paths = [folder / f"minutes-{count}.csv", folder / f"minutes-{count}.parquet"]
    rows.write_csv(paths[0])
    rows.write_parquet(paths[1])
    return paths


def _repeated(symbol: str, count: int) -> pl.DataFrame:
    """Return about so many rows of one symbol, duplicates still to come; the last one ends a day, so that it closes."""
    files = sorted((SHARED_DATA / "bitfinex_1m").glob(f"bitfinex_{symbol}_1m_*.csv.gz"))
    values = pl.col(*PRICES, "volume").cast(pl.Float64)
    real = pl.concat([pl.read_csv(file, infer_schema_length=None).with_columns(values) for file in files])
    count = count * ALSO_EARLIER // (ALSO_EARLIER + 1)
    first, last = real["timestamp_ms"][0], real["timestamp_ms"][-1]
    days = last // DAY_MILLISECONDS - first // DAY_MILLISECONDS + 1
    copies = [
        real.with_columns(pl.col("timestamp_ms") + copy * days * DAY_MILLISECONDS)
        for copy in range(-(-count // real.height))
    ]
    rows = pl.concat(copies).head(count)
    closes = (rows["timestamp_ms"] + 60_000) % DAY_MILLISECONDS == 0
    rows = rows.head(closes.arg_true()[-1] + 1)
    return rows.select("timestamp_ms", pl.lit(symbol).alias("symbol"), *PRICES, "volume")


def refuse_other_bars(name: str, bars: pl.DataFrame, expected: pl.DataFrame) -> None:
    exact = ["symbol", "day", *PRICES]
    if not bars.select(exact).equals(expected.select(exact)):
        raise SystemExit(f"{name} makes other bars: {bars} instead of {expected}")
    if not ((bars["volume"] - expected["volume"]).abs() <= 1e-9 * expected["volume"].abs()).all():
        raise SystemExit(f"{name} makes other volumes")


def measure(name: str, path: Path, folder: Path) -> tuple[Turn, pl.DataFrame]:
    result = folder / "bars.parquet"
    command = [sys.executable, __file__, "--contestant", name, "--path", str(path), "--result", str(result)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Turn(**json.loads(told.splitlines()[-1])), pl.read_parquet(result)


def take_turns(names: Sequence[str], path: Path, repeats: int, folder: Path) -> dict[str, Turn]:
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    expected: pl.DataFrame | None = None
    for _ in range(repeats):
        for name in names:
            turn, bars = measure(name, path, folder)
            expected = bars if expected is None else expected
            refuse_other_bars(name, bars, expected)
            turns[name].append(turn)
    return {name: _medians(measured) for name, measured in turns.items()}


def _medians(turns: Sequence[Turn]) -> Turn:
    return Turn(
        median(turn.wall for turn in turns), median(turn.cpu for turn in turns), median(turn.peak for turn in turns)
    )


def tell(title: str, figures: Mapping[str, Turn]) -> None:
    print(f"\n{title}\n{'':18}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'wall x':>9}{'CPU x':>9}{'peak x':>9}")
    ours = figures["presage"]
    for name, turn in figures.items():
        ratios = (turn.wall / ours.wall, turn.cpu / ours.cpu, turn.peak / ours.peak)
        print(
            f"{name:18}{turn.wall:9.2f}{turn.cpu:9.2f}{turn.peak:9.0f}" + "".join(f"{ratio:9.2f}" for ratio in ratios)
        )


def judge(kind: str, figures: Mapping[str, Turn], pandas_bound: float, best_bound: float) -> list[bool]:
    ours = figures["presage"]
    best = min(turn.wall for name, turn in figures.items() if name not in {"presage", "pandas"})
    least = min(turn.peak for name, turn in figures.items() if name != "presage")
    return [
        bound(f"{kind}: times faster than pandas", figures["pandas"].wall / ours.wall, at_least=pandas_bound),
        bound(f"{kind}: times faster than the best", best / ours.wall, at_least=best_bound),
        bound(f"{kind}: peak memory, times the least", ours.peak / least, at_most=MEMORY),
    ]


def compete(rows: int, repeats: int) -> int:
    kept = []
    with tempfile.TemporaryDirectory(prefix="presage-bars-") as name:
        folder = Path(name)
        for path in reversed(write_minutes(folder, rows)):
            kind = "Parquet" if path.suffix == ".parquet" else "CSV"
            figures = take_turns(list(CONTESTANTS), path, repeats, folder)
            tell(f"{rows:,} rows from {kind}", figures)
            bounds = (PARQUET_PANDAS, PARQUET_BEST) if kind == "Parquet" else (CSV_PANDAS, CSV_BEST)
            kept += judge(kind, figures, *bounds)
            if kind == "CSV":
                path.unlink()
        tenth = write_minutes(folder, rows // 10)[1]
        small = take_turns(["presage"], tenth, repeats, folder)["presage"]
        large = take_turns(["presage"], folder / f"minutes-{rows}.parquet", repeats, folder)["presage"]
        kept.append(bound("ten times the rows, times the CPU", large.cpu / small.cpu, at_most=GROWTH))
        kept.append(bound("ten times the rows, times the seconds", large.wall / small.wall, at_most=GROWTH))
    return 0 if all(kept) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant is None:
        return compete(QUICK_ROWS if given.quick else given.rows, given.repeats)
    watch = Stopwatch()
    CONTESTANTS[given.contestant](given.path, watch).write_parquet(given.result)
    print(json.dumps(asdict(watch.turns[-1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
