"""BTC: its price as it is, indicators of it, and what was predicted."""  # noqa: INP001 - a folder of scripts

from __future__ import annotations

from board import MIXED, MYSQL, Sql, board, choice, figure, lines, now, over_time, rows
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from jobs_board import TABLES

_SERIES = 'presage_market_price{exchange="$exchange",symbol="$symbol"}'
# Another Pod of the exporter makes another series, and the price goes on.
_PRICE = f"max by (exchange, symbol) ({_SERIES})"
_UNIT = "currencyUSD"


def btc() -> Dashboard:
    """Return the dashboard."""
    made = board(
        "presage-btc", "Presage / BTC", "The price, indicators, and predictions.", start="now-30d", end="now+8d"
    )
    made.with_variable(choice("exchange", "Exchange", "label_values(presage_market_price, exchange)", many=False))
    made.with_variable(
        choice("symbol", "Symbol", 'label_values(presage_market_price{exchange="$exchange"}, symbol)', many=False)
    )
    made.with_variable(choice("forecasts", "Table of forecasts", TABLES.format("forecasts"), source=MYSQL, many=False))
    made.with_variable(
        choice(
            "series",
            "Series",
            "SELECT DISTINCT series FROM `${forecasts:raw}` ORDER BY series",
            source=MYSQL,
            many=False,
        )
    )
    made.with_variable(choice("scores", "Table of metrics", TABLES.format("metrics"), source=MYSQL, many=False))
    made.with_panel(figure("Price", now(_newest(_PRICE)), unit=_UNIT))
    for name, span in (("a day", "1d"), ("a week", "7d"), ("30 days", "30d")):
        change = f"{_PRICE} / {_before(span)} - 1"
        made.with_panel(figure(f"Change in {name}", now(_newest(change)), unit="percentunit", limits=_SIGN))
    made.with_panel(
        figure(
            "Volatility",
            now(_newest(_VOLATILITY)),
            unit="percentunit",
            said="Standard deviation of the daily log returns of 30 days, for a year of 365.",
        )
    )
    made.with_panel(
        figure(
            "Below its 30-day high", now(_newest(f"{_PRICE} / max_over_time({_PRICE}[30d:1h]) - 1")), unit="percentunit"
        )
    )
    made.with_row(Row("Price and indicators"))
    made.with_panel(
        lines(
            "Price, and its means of 7 and 30 days",
            over_time(_PRICE, "{{symbol}}"),
            over_time(_mean(7), "MA7", "B"),
            over_time(_mean(30), "MA30", "C"),
            unit=_UNIT,
            width=24,
        )
    )
    made.with_panel(
        lines("Volatility of 30 days, a year", over_time(_VOLATILITY, "{{symbol}}"), unit="percentunit"),
    )
    made.with_panel(
        lines(
            "MA7 above MA30",
            over_time(f"{_mean(7)} / {_mean(30)} - 1", "{{symbol}}"),
            unit="percentunit",
            limit=(0, "red"),
        )
    )
    made.with_row(Row("Predictions, from the table of a sink"))
    made.with_panel(
        lines(
            "Price, and the newest forecast",
            over_time(_PRICE, "{{symbol}}"),
            Sql(
                """SELECT target_time AS time, mean AS forecast, `q0.05` AS `5 %`, `q0.95` AS `95 %`
                FROM `${forecasts:raw}`
                WHERE $__timeFilter(target_time) AND series = ${series:sqlstring}
                AND issued_at =
                (SELECT MAX(issued_at) FROM `${forecasts:raw}` WHERE series = ${series:sqlstring})
                ORDER BY target_time""",
                "time_series",
                "B",
            ),
            Sql(
                """SELECT target_time AS time, mean AS `next bar, as it was issued` FROM `${forecasts:raw}`
                WHERE $__timeFilter(target_time) AND series = ${series:sqlstring} AND (issued_at, target_time) IN
                (SELECT issued_at, MIN(target_time) FROM `${forecasts:raw}` WHERE series = ${series:sqlstring}
                GROUP BY issued_at)
                ORDER BY target_time""",
                "time_series",
                "C",
            ),
            unit=_UNIT,
            said="A forecast is of a bar's close, and is drawn at the bar's start.",
            width=24,
            source=MIXED,
        )
    )
    made.with_panel(
        rows(
            "Newest forecast",
            """SELECT issued_at, target_time, mean AS forecast, `q0.05` AS `5 %`, `q0.95` AS `95 %`, model, run
            FROM `${forecasts:raw}` WHERE series = ${series:sqlstring}
            AND issued_at =
                (SELECT MAX(issued_at) FROM `${forecasts:raw}` WHERE series = ${series:sqlstring})
                ORDER BY target_time""",
        )
    )
    made.with_row(Row("The models behind it"))
    made.with_panel(
        lines(
            "Skill, from the Pushgateway",
            over_time(
                'max by (namespace, prediction_job) (presage_run_skill{prediction_job=~"btc.*"})',
                "{{namespace}}/{{prediction_job}}",
            ),
            unit="percentunit",
            limit=(0, "red"),
        )
    )
    made.with_panel(
        lines(
            "MAPE of each run",
            Sql(
                "SELECT time, model AS metric, mape FROM `${scores:raw}` "
                "WHERE $__timeFilter(time) AND mape IS NOT NULL ORDER BY time",
                "time_series",
            ),
            unit="percent",
            source=MYSQL,
        )
    )
    return made


def _newest(expression: str) -> str:
    # The range reaches into the future, where there is no price.
    return f"last_over_time(({expression})[10d:10m])"


def _before(span: str) -> str:
    return f"max by (exchange, symbol) ({_SERIES} offset {span})"


def _mean(days: int) -> str:
    return f"avg_over_time({_PRICE}[{days}d:1h])"


_VOLATILITY = f"stddev_over_time((ln({_PRICE}) - ln({_before('1d')}))[30d:1d]) * 365 ^ 0.5"
_SIGN = ((None, "red"), (0, "green"))
