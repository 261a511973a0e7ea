"""Serving: what servers are asked, how fast they answer, and how old their forecasts are."""  # noqa: INP001 - a folder of scripts

from __future__ import annotations

from board import JOB, board, choice, columns, figure, lines, now, over_time
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from objectives import OBJECTIVES

_NAMES = "{{namespace}}/{{prediction_job}}"
_OF_A_JOB = "namespace, prediction_job"


def serving() -> Dashboard:
    """Return the dashboard."""
    made = board("presage-serving", "Presage / Serving", "Requests, errors, times, and the age of what is served.")
    made.with_variable(choice("namespace", "Namespace", "label_values(presage_server_model_info, namespace)"))
    made.with_variable(
        choice("job", "Job", 'label_values(presage_server_model_info{namespace=~"$namespace"}, prediction_job)')
    )
    requests = f"rate(presage_server_requests_total{{{JOB}}}[$__rate_interval])"
    errors = f'rate(presage_server_requests_total{{{JOB},code=~"5.."}}[$__rate_interval])'
    buckets = f"rate(presage_server_request_seconds_bucket{{{JOB}}}[$__rate_interval])"
    made.with_panel(figure("Requests", now(f"sum({requests})"), unit="reqps", width=6))
    made.with_panel(
        figure(
            "Server errors",
            now(f"(sum({errors}) or vector(0)) / sum({requests})"),
            unit="percentunit",
            limits=((None, "green"), (OBJECTIVES[1].budget, "red")),
            width=6,
        )
    )
    made.with_panel(
        figure("99 % answered within", now(f"histogram_quantile(0.99, sum by (le) ({buckets}))"), unit="s", width=6)
    )
    made.with_panel(
        figure(
            "Stale forecasts",
            now(f"sum(max by ({_OF_A_JOB}) (presage_server_forecast_stale{{{JOB}}}))"),
            said="Jobs whose served forecast is too old to be relied on.",
            limits=((None, "green"), (1, "red")),
            width=6,
        )
    )
    made.with_panel(
        columns(
            "What is served",
            (
                (
                    "servers",
                    now(f"count by ({_OF_A_JOB}, model, version) (presage_server_model_info{{{JOB}}})"),
                    "short",
                ),
                (
                    "age of the forecast",
                    now(f"max by ({_OF_A_JOB}) (time() - presage_server_forecast_issued_timestamp_seconds{{{JOB}}})"),
                    "s",
                ),
                ("stale", now(f"max by ({_OF_A_JOB}) (presage_server_forecast_stale{{{JOB}}})"), "bool_yes_no"),
            ),
            said="`model` is the name that is served, `version` the run.",
        )
    )
    made.with_row(Row("Requests"))
    made.with_panel(
        lines(
            "Requests by code",
            over_time(f"sum by (protocol, code) ({requests})", "{{protocol}} {{code}}"),
            unit="reqps",
        )
    )
    made.with_panel(
        lines(
            "Time of an answer",
            *(
                over_time(f"histogram_quantile({share}, sum by (le) ({buckets}))", name, letter)
                for share, name, letter in ((0.5, "median", "A"), (0.95, "95 %", "B"), (0.99, "99 %", "C"))
            ),
            unit="s",
        )
    )
    made.with_row(Row("Forecasts"))
    made.with_panel(
        lines(
            "Age of the served forecast",
            over_time(
                f"max by ({_OF_A_JOB}) (time() - presage_server_forecast_issued_timestamp_seconds{{{JOB}}})", _NAMES
            ),
            unit="s",
        )
    )
    made.with_panel(
        lines(
            "Stale",
            over_time(f"max by ({_OF_A_JOB}) (presage_server_forecast_stale{{{JOB}}})", _NAMES),
            unit="bool_yes_no",
        )
    )
    made.with_panel(
        lines(
            "Model directories refused",
            over_time(
                f"sum by ({_OF_A_JOB}) (increase(presage_server_directory_refusals_total{{{JOB}}}[$__rate_interval]))",
                _NAMES,
            ),
            said="Broken or out of reach; the last good forecast stays.",
            width=8,
        )
    )
    made.with_panel(
        lines(
            "Memory",
            over_time(f'sum by ({_OF_A_JOB}) (process_resident_memory_bytes{{{JOB},prediction_job!=""}})', _NAMES),
            unit="bytes",
            width=8,
        )
    )
    made.with_panel(
        lines(
            "Processor",
            over_time(
                f'sum by ({_OF_A_JOB}) (rate(process_cpu_seconds_total{{{JOB},prediction_job!=""}}[$__rate_interval]))',
                _NAMES,
            ),
            said="Seconds of one core a second.",
            width=8,
        )
    )
    return made
