"""Good jobs, and bad ones with what the API server and the laptop must say of them."""

from __future__ import annotations

from collections.abc import Callable

MINIMAL = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: minimal}
spec:
  frequency: 1d
  target: {source: prices, column: Close}
  sources:
    - name: prices
      availability: {lag: 0s}
      file: {uri: prices.csv}
"""
FULL = """
apiVersion: presage.dev/v1alpha1
kind: PredictionJob
metadata: {name: full, labels: {team: desk}}
spec:
  task: Forecast
  frequency: 1h
  calendar: Continuous
  target: {source: prices, column: Close, transform: LogChange, horizon: 24}
  sources:
    - name: prices
      time: opened
      timeUnit: ms
      timeZone: America/New_York
      timeLabel: PeriodEnd
      frequency: 1m
      series: symbol
      columns: {Close: close, Volume: volume}
      units: {Close: USD}
      aggregation: {Close: last, Volume: sum}
      invalidRows: Drop
      fill: {method: Forward, limit: 3}
      availability: {lag: 2s, maxAge: 2h, revised: true}
      s3: {uri: "s3://market/prices/*.parquet", format: Parquet, endpoint: "http://minio:9000", secretRef: {name: keys}}
    - {name: trades, availability: {lag: 0s}, sql: {uri: "sqlite:///trades.db", table: trades, incrementalColumn: id}}
    - {name: rates, availability: {lag: 1d, column: published}, http: {url: "https://a.org/r.json", records: /rows}}
    - {name: kraken, availability: {lag: 0s}, exchange: {name: kraken, symbols: [BTC/USD, ETH/USD], since: 2015-01-01}}
    - {name: ticks, availability: {lag: 0s}, kafka: {uri: "kafka://kafka:9092", topic: ticks}}
    - {name: books, availability: {lag: 0s}, nats: {uri: "nats://nats:4222", stream: books, subject: "books.>"}}
    - {name: warehouse, availability: {lag: 0s}, clickhouse: {uri: "chdb:///data", query: SELECT 1}}
  features:
    - lag: {columns: [prices.Close], steps: [1, 2]}
    - difference: {columns: [rates.yield]}
    - rolling: {columns: [prices.Close], windows: [24], statistics: [mean, zscore]}
    - exponentialMean: {columns: [prices.Close], spans: [12]}
    - premium: {price: kraken.Close, reference: prices.Close}
    - ratio: {numerator: trades.bought, denominator: trades.sold}
    - calendar: {parts: [hour, day_of_week]}
    - rangeVolatility: {sources: [kraken]}
  selection: {method: Importance, maxFeatures: 20}
  models:
    - {name: ridge, parameters: {alpha: 1e-3}}
    - {name: xgboost, parameters: {n_estimators: 50, objective: "reg:absoluteerror"}}
    - name: catboost
      scope: PerSeries
      search: {trials: 10, parameters: {depth: {low: 2.0, high: 6.0, log: false, choices: []}}}
  evaluation: {folds: 6, window: Rolling, trainSize: 2000, embargo: 24, metric: CRPS, intervals: {levels: [0.8, 0.95]}}
  promotion: {policy: Gate, coverage: {level: 0.8}}
  serving: {replicas: {min: 1, max: 4}, canaryPercent: 10, shadow: true}
  monitoring: {window: 200, maxStaleness: 3h, rollback: true}
  schedule:
    train: {schedule: "0 3 * * sun", timeZone: Europe/London}
    forecast: {schedule: "@hourly", startingDeadlineSeconds: 600}
  engine: {type: dask, workers: 8, address: "tcp://dask:8786"}
  sinks:
    - {name: warehouse, data: grades, sql: {uri: "postgresql://warehouse/presage", secretRef: {name: warehouse}}}
    - {name: archive, files: {uri: "s3://archive/forecasts"}}
  resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {memory: 2Gi}}
  retention: {runs: 5}
  seed: 7
"""


Change = Callable[[dict], None]


def put(path: str, value: object) -> Change:
    """Set the field at a dotted path; numbers are places in lists."""

    def change(job: dict) -> None:
        *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        inner = job
        for part in outer:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part]
        inner[last] = value

    return change


def drop(path: str) -> Change:
    """Remove the field at a dotted path."""

    def change(job: dict) -> None:
        *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        inner = job
        for part in outer:
            inner = inner[part]
        del inner[last]

    return change


def both_tabular(job: dict) -> None:
    """Predict a change of the same row, which has none."""
    job["spec"] |= {"task": "Regression", "target": job["spec"]["target"] | {"transform": "LogChange"}}


ANOTHER = {"name": "prices", "availability": {"lag": "0s"}, "file": {"uri": "more.csv"}}
# What is wrong, the change to a good job, what the API server says, the path and what the laptop says.
BAD = [
    (
        "horizon 0",
        put("spec.target.horizon", 0),
        "horizon must be greater than 0",
        "spec.target.horizon",
        "from 1 to 1000",
    ),
    ("horizon too far", put("spec.target.horizon", 1001), "1000", "spec.target.horizon", "from 1 to 1000"),
    ("horizon as text", put("spec.target.horizon", "5"), "integer", "spec.target.horizon", "a whole number"),
    ("horizon with a fraction", put("spec.target.horizon", 1.5), "integer", "spec.target.horizon", "a whole number"),
    (
        "two source kinds",
        put("spec.sources.0.dataset", {"name": "arch/sp500"}),
        "exactly one of dataset, file, s3",
        "spec.sources[0]",
        "exactly one of dataset, file, s3",
    ),
    (
        "no source kind",
        drop("spec.sources.0.file"),
        "exactly one of dataset",
        "spec.sources[0]",
        "exactly one of dataset",
    ),
    (
        "metric of another task",
        put("spec.evaluation", {"metric": "Brier"}),
        "only for it",
        "spec.evaluation.metric",
        "another metric",
    ),
    (
        "model of another task",
        put("spec.models", [{"name": "logistic_regression"}]),
        "task Forecast takes the models",
        "spec.models[0].name",
        "a model that task Forecast takes",
    ),
    (
        "values of the row itself",
        put("spec.features", [{"columns": {"columns": ["prices.Close"]}}]),
        "features.columns is for",
        "spec.features[0].columns",
        "left out",
    ),
    ("transform of rows", both_tabular, "transform Level", "spec.target.transform", "Level for task Regression"),
    ("class of a forecast", put("spec.target.above", 1.0), "for task Classification", "spec.target.above", "left out"),
    ("no sources", put("spec.sources", []), "at least 1 items", "spec.sources", "a list of 1 to 64 entries"),
    ("no frequency", drop("spec.frequency"), "spec.frequency: Required value", "spec.frequency", "required"),
    (
        "no lag",
        drop("spec.sources.0.availability.lag"),
        "lag: Required value",
        "spec.sources[0].availability.lag",
        "required",
    ),
    (
        "unknown field",
        put("spec.target.horizn", 3),
        'unknown field "spec.target.horizn"',
        "spec.target.horizn",
        "horizon",
    ),
    ("snake case", put("spec.evaluation.train_size", 99), "unknown field", "spec.evaluation.train_size", "trainSize"),
    (
        "target of no source",
        put("spec.target.source", "price"),
        "target.source must be the name of one of the sources",
        "spec.target.source",
        "a declared source: prices",
    ),
    (
        "a source's name twice",
        lambda job: job["spec"]["sources"].append(ANOTHER),
        "Duplicate value",
        "spec.sources[1].name",
        "a name that no other entry",
    ),
    (
        "a model twice",
        put("spec.models", [{"name": "ridge"}, {"name": "ridge", "parameters": {"alpha": 2.0}}]),
        "Duplicate value",
        "spec.models[1].name",
        "a name that no other entry",
    ),
    (
        "bad frequency",
        put("spec.frequency", "daily"),
        "must be a bar's length: a whole number",
        "spec.frequency",
        "a bar's length",
    ),
    (
        "frequency 0",
        put("spec.frequency", "0d"),
        "must be a bar's length: a whole number",
        "spec.frequency",
        "a bar's length",
    ),
    (
        "bad lag",
        put("spec.sources.0.availability.lag", "1 day"),
        "should match",
        "spec.sources[0].availability.lag",
        "15m",
    ),
    (
        "bad name",
        put("spec.sources.0.name", "Prices"),
        "must be a name: lower-case letters",
        "spec.sources[0].name",
        "lower-case letters",
    ),
    (
        "Rolling without trainSize",
        put("spec.evaluation", {"window": "Rolling"}),
        "a Rolling window needs trainSize",
        "spec.evaluation.trainSize",
        "required with a Rolling window",
    ),
    (
        "coverage that no interval has",
        put("spec.promotion.coverage.level", 0.7),
        "promotion.coverage.level must be one of evaluation.intervals.levels",
        "spec.promotion.coverage.level",
        "one of evaluation.intervals.levels: 0.5, 0.8, 0.9, 0.95",
    ),
    (
        "level of 1",
        put("spec.evaluation.intervals.levels", [0.9, 1]),
        "less than 1",
        "spec.evaluation.intervals.levels[1]",
        "below 1",
    ),
    ("unknown model", put("spec.models", [{"name": "rigde"}]), "Unsupported value", "spec.models[0].name", "ridge"),
    ("unknown metric", put("spec.evaluation.metric", "mae"), "Unsupported value", "spec.evaluation.metric", "MAE"),
    ("no models", put("spec.models", []), "at least 1 items", "spec.models", "a list of 1 to 64 entries"),
    (
        "two features in one",
        put("spec.features", [{"lag": {"columns": ["prices.Close"], "steps": [1]}, "calendar": {"parts": ["month"]}}]),
        "exactly one of columns, lag",
        "spec.features[0]",
        "exactly one of columns, lag",
    ),
    (
        "a column without its source",
        put("spec.features", [{"lag": {"columns": ["Close"], "steps": [1]}}]),
        "should match",
        "spec.features[0].lag.columns[0]",
        "a column of a source",
    ),
    (
        "table and query",
        put("spec.sources.0", {**ANOTHER, "file": None, "sql": {"uri": "sqlite:///a.db", "table": "a", "query": "b"}}),
        "exactly one of table, query is allowed",
        "spec.sources[0].sql",
        "exactly one of table, query",
    ),
    (
        "more replicas at least than at most",
        put("spec.serving.replicas", {"min": 3, "max": 2}),
        "min must be at most max",
        "spec.serving.replicas.min",
        "at most `max`",
    ),
    (
        "bad schedule",
        put("spec.schedule.train", {"schedule": "daily"}),
        "should match",
        "spec.schedule.train.schedule",
        "cron",
    ),
    (
        "sink of no kind",
        put("spec.sinks", [{"name": "a"}]),
        "exactly one of sql, files",
        "spec.sinks[0]",
        "exactly one of",
    ),
    (
        "quantity",
        put("spec.resources.limits", {"memory": "2 GB"}),
        "should match",
        "spec.resources.limits.memory",
        "2Gi",
    ),
    ("long name", put("metadata.name", "a" * 54), "may not be more than 53", "metadata.name", "53 at most"),
    ("text for a truth value", put("spec.serving.enabled", "yes"), "boolean", "spec.serving.enabled", "true or false"),
]
