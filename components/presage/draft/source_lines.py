"""The lines of a job that say where a table is and how it is read."""

from __future__ import annotations

from presage.draft.opened import Opened
from presage.draft.yaml_text import line, mapping, scalar
from presage.spec.sources import Source


def source_lines(
    opened: Opened,
    source: Source,
    *,
    repeats: str,
    series_why: str = "",
    columns_why: str,
    dropped_why: str,
    lag_check: tuple[str, ...],
) -> list[str]:
    """Return the entry of a source, each of its fields explained.

    Args:
        opened: The table.
        source: The source that reads it.
        repeats: What is said of repeated rows beside the times.
        series_why: Why its series are told by that column.
        columns_why: Why it names its columns.
        dropped_why: Why rows are dropped.
        lag_check: What the user has to check of the lag.
    """
    layout, times = opened.layout, opened.times
    place = [("uri", scalar(source.file.uri if source.file else ""))]
    if layout.skip_rows:
        place.append(("skipRows", str(layout.skip_rows)))
    if layout.delimiter != ",":
        place.append(("delimiter", scalar(layout.delimiter)))
    above = f"above the header: {layout.banner[:60]!r}" if layout.skip_rows else ""

    lines = [f"    - name: {scalar(source.name)}", *line(6, f"file: {mapping(place)}", above)]
    lines += line(6, f"time: {scalar(source.time)}", times.why + repeats)
    if source.time_format is not None:
        lines += line(6, f"timeFormat: {scalar(source.time_format)}", times.form_why)
    if source.time_unit is not None:
        lines += line(6, f"timeUnit: {source.time_unit}", times.form_why)
    lines += line(6, f"timeZone: {scalar(source.time_zone)}", opened.zone.why)
    if source.frequency is not None:
        why = "of the rows; with a longer spec.frequency, bars are made of them"
        lines += line(6, f"frequency: {source.frequency}", why)
    if source.series is not None:
        lines += line(6, f"series: {scalar(source.series)}", series_why)
    if source.columns:
        columns = [(scalar(new), scalar(old)) for new, old in source.columns.items()]
        lines += line(6, f"columns: {mapping(columns)}", columns_why)
    if dropped_why:
        lines += line(6, f"invalidRows: {source.invalid_rows}", dropped_why)
    return [*lines, *(f"      # {text}" for text in lag_check), "      availability: {lag: 0s}"]
