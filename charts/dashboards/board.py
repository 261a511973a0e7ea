"""What all dashboards are made of: their panels, queries and variables, in the words of Grafana's own SDK."""  # noqa: INP001 - a folder of scripts

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = dashboard.DataSourceRef(type_val="prometheus", uid="prometheus")
MYSQL = dashboard.DataSourceRef(type_val="mysql", uid="mysql")
MIXED = dashboard.DataSourceRef(type_val="datasource", uid="-- Mixed --")
JOB = 'namespace=~"$namespace",prediction_job=~"$job"'
"""Selector of what is a job's."""
_HEIGHT = 8
_LETTERS = "ABCDEFGHIJKLMNOP"

Query = Builder[Dataquery]
Panel = Builder[dashboard.Panel]


@dataclass
class SqlQuery(Dataquery):
    """A query in SQL: the SDK has none of its own for MySQL.

    Attributes:
        sql: The query; of a time series its first column is `time`.
        shape: `time_series` or `table`.
        ref_id: Letter of the query in its panel.
    """

    sql: str
    shape: str
    ref_id: str = "A"

    def to_json(self) -> dict[str, object]:
        """Return it as Grafana's MySQL data source reads it."""
        return {
            "refId": self.ref_id,
            "datasource": MYSQL,
            "editorMode": "code",
            "format": self.shape,
            "rawQuery": True,
            "rawSql": self.sql,
        }


class Sql(Builder[Dataquery]):
    """Builds a query in SQL."""

    def __init__(self, sql: str, shape: str = "table", ref_id: str = "A") -> None:
        self._query = SqlQuery(" ".join(sql.split()), shape, ref_id)

    def build(self) -> SqlQuery:
        """Return the query."""
        return self._query


def over_time(expression: str, legend: str, ref_id: str = "A") -> Query:
    """Return a PromQL query over the dashboard's time range."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref_id).range().datasource(PROMETHEUS)


def now(expression: str, legend: str = "__auto", ref_id: str = "A") -> prometheus.Dataquery:
    """Return a PromQL query at the end of the dashboard's time range."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref_id).instant().datasource(PROMETHEUS)


def figure(
    title: str,
    query: Query,
    *,
    unit: str = "short",
    said: str = "",
    limits: Sequence[tuple[float | None, str]] = (),
    width: int = 4,
    source: dashboard.DataSourceRef = PROMETHEUS,
) -> Panel:
    """Return a panel of one number a series.

    Args:
        title: What it is.
        query: What gives it.
        unit: Grafana's name of the unit.
        said: What it means.
        limits: From which value on it has which colour, the first from None on.
        width: Of 24.
        source: Where the query goes.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(said)
        .datasource(source)
        .with_target(query)
        .unit(unit)
        .height(4)
        .span(width)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_mode(common.BigValueColorMode.VALUE if limits else common.BigValueColorMode.NONE)
        .graph_mode(common.BigValueGraphMode.NONE)
    )
    return panel.thresholds(_thresholds(limits)) if limits else panel


def lines(
    title: str,
    *queries: Query,
    unit: str = "short",
    said: str = "",
    width: int = 12,
    source: dashboard.DataSourceRef = PROMETHEUS,
    limit: tuple[float, str] | None = None,
) -> timeseries.Panel:
    """Return a panel of lines over time.

    Args:
        title: What it is.
        queries: What gives the lines.
        unit: Grafana's name of the unit.
        said: What it means.
        width: Of 24.
        source: Where the queries go.
        limit: A value that is drawn as a line, and its colour.
    """
    legend = (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    tooltip = (
        common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(said)
        .datasource(source)
        .targets(list(queries))
        .unit(unit)
        .height(_HEIGHT)
        .span(width)
        .fill_opacity(0)
        .line_width(1)
        .show_points(common.VisibilityMode.AUTO)
        .legend(legend)
        .tooltip(tooltip)
    )
    if limit is None:
        return panel
    drawn = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(_thresholds(((None, "transparent"), limit))).thresholds_style(drawn)


def columns(title: str, queries: Sequence[tuple[str, prometheus.Dataquery, str]], *, said: str = "") -> Panel:
    """Return a table with a row a label set, and a column a query.

    Args:
        title: What it is.
        queries: Of each column: its head, the instant query, and Grafana's name of the unit.
        said: What it means.
    """
    panel = table.Panel().title(title).description(said).datasource(PROMETHEUS).height(_HEIGHT).span(24)
    heads = {f"Value #{letter}": head for letter, (head, _, _) in zip(_LETTERS, queries, strict=False)}
    for letter, (head, query, unit) in zip(_LETTERS, queries, strict=False):
        asked = query.ref_id(letter).format(PromQueryFormat.TABLE)
        panel = panel.with_target(asked).override_by_name(head, [dashboard.DynamicConfigValue("unit", unit)])
    return panel.transformations(
        [
            dashboard.DataTransformerConfig("merge", options={}),
            dashboard.DataTransformerConfig(
                "organize", options={"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": heads}
            ),
        ]
    )


def rows(title: str, sql: str, *, said: str = "") -> Panel:
    """Return a table of what a query in SQL gives."""
    panel = table.Panel().title(title).description(said).datasource(MYSQL).height(_HEIGHT).span(24)
    return panel.with_target(Sql(sql))


def choice(
    name: str, label: str, query: str, *, source: dashboard.DataSourceRef = PROMETHEUS, many: bool = True
) -> builders.QueryVariable:
    """Return a variable whose values a query gives.

    Args:
        name: Its name in queries.
        label: Its name for people.
        query: `label_values(metric, label)` of Prometheus, or SQL.
        source: Where the query goes.
        many: Whether several values, and all of them, can be chosen.
    """
    variable = (
        builders.QueryVariable(name)
        .label(label)
        .datasource(source)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )
    if not many:
        return variable
    every = dashboard.VariableOption(text="All", value="$__all")
    return variable.multi(True).include_all(True).all_value(".*").current(every)


def board(uid: str, title: str, said: str, *, start: str = "now-24h", end: str = "now") -> builders.Dashboard:
    """Return a dashboard without panels.

    Args:
        uid: Its name in addresses.
        title: Its name.
        said: What it is for.
        start: Start of its time range, in Grafana's words.
        end: End of its time range.
    """
    others = (
        builders.DashboardLink("Presage")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags(["presage"])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    return (
        builders.Dashboard(title)
        .uid(uid)
        .description(said)
        .tags(["presage"])
        .timezone("utc")
        .refresh("1m")
        .time(start, end)
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(others)
        .readonly()
    )


def _thresholds(limits: Sequence[tuple[float | None, str]]) -> builders.ThresholdsConfig:
    steps = [dashboard.Threshold(value=value, color=colour) for value, colour in limits]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)
