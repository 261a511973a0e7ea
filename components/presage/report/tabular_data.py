"""What a report on predicted rows is made of."""

from __future__ import annotations

from dataclasses import dataclass

from presage.report.data import JudgedRun
from presage.tabular.walk import Walk


@dataclass(frozen=True, kw_only=True)
class TableReport(JudgedRun):
    """One run over rows, ready to be shown.

    Attributes:
        back_test: The predictions that were judged.
        open_rows: Rows whose outcome is not known, which the champion predicted.
    """

    back_test: Walk
    open_rows: int
