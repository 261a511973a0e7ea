"""What a champion issues: its next forecast, or its predictions of open rows."""

from __future__ import annotations

from presage.report.data import IssuedForecast
from presage.spec.forecast import ForecastSummary
from presage.steps.bars import JobBars
from presage.steps.forecast import write_forecast
from presage.steps.promote import Champion
from presage.steps.records import Forecast, keep_forecast
from presage.steps.rows import JobRows
from presage.steps.workdir import WorkDirectory
from presage.tabular.predictions import RowForecast, RowForecastSummary


def issue_next(
    data: JobBars | JobRows, work: WorkDirectory, champion: Champion
) -> Forecast[tuple[IssuedForecast, ...], ForecastSummary] | Forecast[RowForecast, RowForecastSummary]:
    """Return a champion's next forecast, which is kept in the lake and, of series, beside the bundle.

    The caller holds the job's lock.

    Args:
        data: The job's data.
        work: The work directory.
        champion: What forecasts.

    Raises:
        DataError: It has no forecast of any series, or the rows lack a column that it learnt from.
        LakeError: Its bundle is damaged.
        LakeConflictError: Others kept writing to a table.
        StorageError: The work directory cannot be written to.
    """
    directory = work.run(data.job, champion.run)
    made = data.forecast(directory, run=champion.run, model=champion.model, promoted=champion.promoted)
    keep_forecast(data.lake, data.job, made.table, champion)
    if isinstance(made.summary, ForecastSummary):
        write_forecast(directory, made.summary)
    return made
