"""The platform: the operator, the objectives, the dependencies and where data lie."""  # noqa: INP001 - a folder of scripts

from __future__ import annotations

from board import board, columns, figure, lines, now, over_time
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from objectives import BUDGET_WINDOW, OBJECTIVES

_RECONCILES = "rate(presage_reconcile_seconds_bucket[$__rate_interval])"
_DEPENDENCIES = (
    'job=~"(.*-)?(minio|mysql|kafka(-exporter)?|nats|clickhouse|redis|'
    'prometheus|alertmanager|pushgateway|price-exporter)"'
)


def platform() -> Dashboard:
    """Return the dashboard."""
    made = board(
        "presage-platform", "Presage / Platform", "The operator, the objectives, the dependencies and volumes."
    )
    made.with_panel(
        figure("Leaders", now("sum(presage_leader)"), said="Replicas of the operator that work: one.", limits=_ONE)
    )
    made.with_panel(figure("Operator replicas", now("count(presage_leader)")))
    made.with_panel(figure("Jobs", now("sum(presage_jobs)")))
    made.with_panel(
        figure(
            "Failed jobs", now('sum(presage_jobs{phase="Failed"}) or vector(0)'), limits=((None, "green"), (1, "red"))
        )
    )
    made.with_panel(figure("Forecasts served", now("count(presage_server_model_info)")))
    made.with_panel(
        figure(
            "Kinds not watched",
            now("sum(presage_watch_faults)"),
            said="Kinds of objects that the operator cannot watch at present.",
            limits=((None, "green"), (1, "red")),
        )
    )
    made.with_row(Row("Objectives: what is left of the budget of 30 days"))
    for objective in OBJECTIVES:
        broken = objective.recording(BUDGET_WINDOW)
        made.with_panel(
            figure(
                f"{objective.name.capitalize()}, {100 * objective.share:g} %",
                now(f"min(1 - {broken} / {objective.budget})"),
                unit="percentunit",
                said=f"The least that any has left of what may break: {objective.what}.",
                limits=((None, "red"), (0, "orange"), (0.5, "green")),
                width=8,
            )
        )
    for objective in OBJECTIVES:
        legend = " ".join(f"{{{{{label}}}}}" for label in objective.by)
        made.with_panel(
            lines(
                f"{objective.name.capitalize()}: share broken in an hour",
                over_time(objective.recording("1h"), legend),
                unit="percentunit",
                width=8,
                limit=(objective.budget, "red"),
            )
        )
    made.with_row(Row("Operator"))
    made.with_panel(lines("Jobs by phase", over_time("sum by (phase) (presage_jobs)", "{{phase}}")))
    made.with_panel(
        lines(
            "Time of a reconcile",
            *(
                over_time(f"histogram_quantile({share}, sum by (le) ({_RECONCILES}))", name, letter)
                for share, name, letter in ((0.5, "median", "A"), (0.99, "99 %", "B"))
            ),
            unit="s",
        )
    )
    made.with_panel(
        lines(
            "Reconciles by result",
            over_time("sum by (result) (rate(presage_reconcile_seconds_count[$__rate_interval]))", "{{result}}"),
            unit="ops",
        )
    )
    made.with_panel(
        lines(
            "Failed reconciles by error",
            over_time("sum by (error) (increase(presage_reconcile_errors_total[$__rate_interval]))", "{{error}}"),
        )
    )
    made.with_panel(
        lines(
            "Queue",
            over_time("sum(presage_queue_depth)", "jobs that wait"),
            over_time("max(presage_queue_oldest_seconds)", "seconds that the oldest waits", "B"),
        )
    )
    made.with_panel(
        lines(
            "Actions",
            over_time("sum by (action) (increase(presage_actions_total[$__rate_interval]))", "{{action}}"),
        )
    )
    made.with_panel(
        lines(
            "Requests to the API server by code",
            over_time("sum by (code) (rate(presage_api_requests_total[$__rate_interval]))", "{{code}}"),
            unit="reqps",
            width=24,
        )
    )
    made.with_row(Row("Dependencies and volumes"))
    made.with_panel(
        lines(
            "Dependencies up",
            over_time(f"max by (job) (up{{{_DEPENDENCIES}}})", "{{job}}"),
            unit="bool_on_off",
        )
    )
    made.with_panel(
        lines(
            "Free share of volumes",
            over_time(
                "min by (namespace, persistentvolumeclaim) "
                "(kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes)",
                "{{namespace}}/{{persistentvolumeclaim}}",
            ),
            unit="percentunit",
            said="As the kubelet tells it; not every kind of volume does.",
            limit=(0.05, "red"),
        )
    )
    made.with_panel(
        columns(
            "Backups and pushes",
            (
                (
                    "last backup",
                    now("time() - max by (namespace) (presage_backup_last_success_timestamp_seconds)"),
                    "s",
                ),
                ("last push", now('time() - max by (namespace) (push_time_seconds{job="presage"})'), "s"),
            ),
            said="How long ago, by namespace.",
        )
    )
    return made


_ONE = ((None, "red"), (1, "green"), (2, "orange"))
