"""Data quality: what the sources of a job gave its newest run, and what they lacked."""  # noqa: INP001 - a folder of scripts

from __future__ import annotations

from board import JOB, board, choice, columns, figure, lines, now, over_time
from grafana_foundation_sdk.builders.dashboard import Dashboard

_OF_A_SOURCE = "namespace, prediction_job, source"
_NAMES = "{{namespace}}/{{prediction_job}} {{source}}"


def quality() -> Dashboard:
    """Return the dashboard."""
    made = board(
        "presage-data-quality", "Presage / Data quality", "Rows, gaps and age of the sources of jobs.", start="now-30d"
    )
    made.with_variable(choice("namespace", "Namespace", "label_values(presage_source_rows, namespace)"))
    made.with_variable(
        choice("job", "Job", 'label_values(presage_source_rows{namespace=~"$namespace"}, prediction_job)')
    )
    made.with_panel(figure("Sources", now(f"count(presage_source_rows{{{JOB}}})"), width=6))
    made.with_panel(figure("Bars and rows", now(f"sum(presage_source_rows{{{JOB}}})"), width=6))
    made.with_panel(
        figure(
            "Most that any source lacks",
            now(f"max({_share('gaps')})"),
            unit="percentunit",
            said="Periods without a bar, of all periods.",
            limits=((None, "green"), (0.01, "orange"), (0.1, "red")),
            width=6,
        )
    )
    made.with_panel(
        figure(
            "Oldest source",
            now(f"max(time() - presage_source_newest_timestamp_seconds{{{JOB}}})"),
            unit="s",
            said="Since the start of its newest bar, as the newest run found it.",
            width=6,
        )
    )
    made.with_panel(
        columns(
            "Sources",
            tuple(
                (head, now(f"max by ({_OF_A_SOURCE}) ({expression})"), unit)
                for head, expression, unit in (
                    ("rows", f"presage_source_rows{{{JOB}}}", "short"),
                    ("gaps", f"presage_source_gaps{{{JOB}}}", "short"),
                    ("filled", f"presage_source_filled{{{JOB}}}", "short"),
                    ("duplicates", f"presage_source_duplicates{{{JOB}}}", "short"),
                    ("dropped", f"presage_source_dropped{{{JOB}}}", "short"),
                    ("age", f"time() - presage_source_newest_timestamp_seconds{{{JOB}}}", "s"),
                )
            ),
            said="As the newest run found them.",
        )
    )
    for title, expression, unit in (
        ("Rows", f"presage_source_rows{{{JOB}}}", "short"),
        ("Age of the newest bar", f"time() - presage_source_newest_timestamp_seconds{{{JOB}}}", "s"),
        ("Share of periods without a bar", _share("gaps"), "percentunit"),
        (
            "Share of bars that forward fill made",
            f"presage_source_filled{{{JOB}}} / presage_source_rows{{{JOB}}}",
            _SHARE,
        ),
        ("Rows that repeated another", f"presage_source_duplicates{{{JOB}}}", "short"),
        ("Rows that could not be true", f"presage_source_dropped{{{JOB}}}", "short"),
    ):
        made.with_panel(lines(title, over_time(f"max by ({_OF_A_SOURCE}) ({expression})", _NAMES), unit=unit))
    return made


_SHARE = "percentunit"


def _share(what: str) -> str:
    lacking, there = (f"presage_source_{one}{{{JOB}}}" for one in (what, "rows"))
    return f"{lacking} / ({lacking} + {there})"
