"""Jobs and their scorecards: what their newest runs found, and what earlier ones did."""  # noqa: INP001 - a folder of scripts

from __future__ import annotations

from board import JOB, MYSQL, Sql, board, choice, columns, figure, lines, now, over_time, rows
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

_OF_A_JOB = "namespace, prediction_job"
_NAMES = "{{namespace}}/{{prediction_job}}"


def jobs() -> Dashboard:
    """Return the dashboard."""
    made = board("presage-jobs", "Presage / Jobs and scorecards", "What the runs of jobs found.", start="now-30d")
    made.with_variable(choice("namespace", "Namespace", "label_values(presage_run_timestamp_seconds, namespace)"))
    made.with_variable(
        choice("job", "Job", 'label_values(presage_run_timestamp_seconds{namespace=~"$namespace"}, prediction_job)')
    )
    made.with_variable(choice("scores", "Table of metrics", TABLES.format("metrics"), source=MYSQL, many=False))
    made.with_panel(figure("Jobs with a run", now(f"count(presage_run_timestamp_seconds{{{JOB}}})"), width=6))
    made.with_panel(
        figure(
            "With a promoted model",
            now(f"sum(presage_run_promoted{{{JOB}}})"),
            said="The others serve the best baseline, or a champion of before.",
            width=6,
        )
    )
    made.with_panel(
        figure("Median skill", now(f"quantile(0.5, presage_run_skill{{{JOB}}})"), unit="percentunit", width=6)
    )
    made.with_panel(
        figure("Oldest run", now(f"max(time() - presage_run_timestamp_seconds{{{JOB}}})"), unit="s", width=6)
    )
    made.with_panel(
        columns(
            "Newest run of each job",
            (
                ("run", now(f"max by ({_OF_A_JOB}, model, reason) (presage_run_info{{{JOB}}})"), "short"),
                ("skill", now(f"max by ({_OF_A_JOB}) (presage_run_skill{{{JOB}}})"), "percentunit"),
                ("coverage", now(f"max by ({_OF_A_JOB}) (presage_run_coverage_ratio{{{JOB}}})"), "percentunit"),
                ("p-value", now(f"max by ({_OF_A_JOB}) (presage_run_p_value{{{JOB}}})"), "short"),
                ("promoted", now(f"max by ({_OF_A_JOB}) (presage_run_promoted{{{JOB}}})"), "bool_yes_no"),
                ("age", now(f"max by ({_OF_A_JOB}) (time() - presage_run_timestamp_seconds{{{JOB}}})"), "s"),
            ),
            said="The model that the verdict names, and the gate's reason.",
        )
    )
    made.with_row(Row("Verdicts"))
    made.with_panel(
        lines(
            "Skill",
            over_time(f"max by ({_OF_A_JOB}) (presage_run_skill{{{JOB}}})", _NAMES),
            unit="percentunit",
            said="1 - loss / loss of the best baseline.",
            limit=(0, "red"),
        )
    )
    made.with_panel(
        lines(
            "Coverage, and its band",
            over_time(f"max by ({_OF_A_JOB}) (presage_run_coverage_ratio{{{JOB}}})", _NAMES),
            over_time(f"max by ({_OF_A_JOB}) (presage_run_coverage_lower_ratio{{{JOB}}})", f"{_NAMES} at least", "B"),
            over_time(f"max by ({_OF_A_JOB}) (presage_run_coverage_upper_ratio{{{JOB}}})", f"{_NAMES} at most", "C"),
            unit="percentunit",
            said="Share of outcomes inside the interval that the gate watches.",
        )
    )
    made.with_panel(
        lines("Verdicts by reason", over_time(f"count by (reason) (presage_run_info{{{JOB}}})", "{{reason}}"))
    )
    made.with_panel(
        lines(
            "Independent origins, and how many the gate asks for",
            over_time(f"max by ({_OF_A_JOB}) (presage_run_effective_origins{{{JOB}}})", _NAMES),
            over_time(f"max by ({_OF_A_JOB}) (presage_run_required_origins{{{JOB}}})", f"{_NAMES} required", "B"),
        )
    )
    made.with_panel(
        lines(
            "Time of a run",
            over_time(f"max by ({_OF_A_JOB}) (presage_run_duration_seconds{{{JOB}}})", _NAMES),
            unit="s",
        )
    )
    made.with_panel(
        lines(
            "Age of the newest run",
            over_time(f"max by ({_OF_A_JOB}) (time() - presage_run_timestamp_seconds{{{JOB}}})", _NAMES),
            unit="s",
        )
    )
    made.with_row(Row("Contenders"))
    made.with_panel(
        lines(
            "Skill of each contender",
            over_time(
                f"max by ({_OF_A_JOB}, model, baseline) (presage_contender_skill{{{JOB}}})", f"{_NAMES} {{{{model}}}}"
            ),
            unit="percentunit",
        )
    )
    made.with_panel(
        lines(
            "Loss of each contender",
            over_time(
                f"max by ({_OF_A_JOB}, model, baseline) (presage_contender_loss{{{JOB}}})", f"{_NAMES} {{{{model}}}}"
            ),
        )
    )
    made.with_row(Row("Every run, from the table of a sink"))
    made.with_panel(
        lines(
            "Skill of each run",
            Sql(
                "SELECT time, model AS metric, skill FROM `${scores:raw}` "
                "WHERE $__timeFilter(time) AND skill IS NOT NULL ORDER BY time",
                "time_series",
            ),
            unit="percentunit",
            width=24,
            source=MYSQL,
        )
    )
    made.with_panel(
        rows(
            "Scorecard of the newest run",
            "SELECT namespace, job, model, baseline, promoted, metric, loss, skill, mae, rmse, mape, mase, coverage "
            "FROM `${scores:raw}` WHERE run = (SELECT run FROM `${scores:raw}` ORDER BY time DESC LIMIT 1) "
            "ORDER BY loss",
        )
    )
    return made


TABLES = (
    "SELECT table_name AS name FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_name LIKE '%{}' ORDER BY table_name"
)
"""SQL of the tables whose name ends as those of a sink do."""
