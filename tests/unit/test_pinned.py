"""A job's data as a pin: the same text for the same data, and the same data from the text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import EXAMPLES
from row_job_case import NOW, WAITING, make_job, trips

from presage.engine import LocalEngine
from presage.errors import LakeError
from presage.frame import to_table
from presage.lake.tables import Lake
from presage.spec.job import PredictionJob
from presage.spec.load import load_job
from presage.steps.bars import JobBars, read_bars
from presage.steps.lock import lock_digest
from presage.steps.pinned import Pin, pin, pinned
from presage.steps.rows import JobRows, read_rows

AT = datetime(2026, 1, 2, tzinfo=UTC)
QUICKSTART = load_job(EXAMPLES / "quickstart.yaml")


def read(job: PredictionJob, folder: Path, now: datetime) -> JobBars | JobRows:
    """A job's data, read into a lake in a folder, in which its files are too."""
    reads = read_rows if job.spec.is_tabular else read_bars
    return reads(job, Lake(str(folder / "lake")), base=folder, now=now, sources={})


def again(job: PredictionJob, folder: Path, text: str, now: datetime = AT) -> JobBars | JobRows:
    return pinned(job, Lake(str(folder / "lake")), text, now=now)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, JobBars]:
    """The quickstart's data, with its lake and its pin."""
    folder = tmp_path_factory.mktemp("bars")
    data = read(QUICKSTART, folder, AT)
    assert isinstance(data, JobBars)
    return folder, pin(data).model_dump_json(), data


def test_the_same_bars_have_the_same_pin_whenever_they_are_read(bars: tuple[Path, str, JobBars]) -> None:
    folder, text, _ = bars
    assert pin(read(QUICKSTART, folder, AT + timedelta(days=30))).model_dump_json() == text


def test_bars_are_those_that_were_pinned(bars: tuple[Path, str, JobBars]) -> None:
    folder, text, data = bars
    found = again(QUICKSTART, folder, text)
    assert isinstance(found, JobBars)
    assert to_table(found.built.panel).equals(to_table(data.built.panel))
    assert found.digests == data.digests
    assert found.ingested.summaries == data.ingested.summaries
    assert found.entrants == data.entrants
    assert pin(found).model_dump_json() == text


def test_a_pin_holds_while_newer_rows_come(tmp_path: Path) -> None:
    job = make_job()
    trips().write_csv(tmp_path / "trips.csv")
    data = read(job, tmp_path, NOW)
    text = pin(data).model_dump_json()
    settled = trips(waiting=0)
    settled.write_csv(tmp_path / "trips.csv")
    newer = read(job, tmp_path, NOW + timedelta(days=1))
    assert pin(newer).model_dump_json() != text
    found = again(job, tmp_path, text, now=NOW)
    assert isinstance(found, JobRows)
    assert found.ingested.observations.digest == data.ingested.observations.digest
    assert len(found.ingested.observations.open) == WAITING


def test_the_same_rows_have_the_same_pin_whenever_they_are_read(tmp_path: Path) -> None:
    trips().write_csv(tmp_path / "trips.csv")
    first = pin(read(make_job(), tmp_path, NOW)).model_dump_json()
    assert pin(read(make_job(), tmp_path, NOW + timedelta(days=9))).model_dump_json() == first


def test_a_walk_over_pinned_data_is_that_over_the_data_itself(tmp_path: Path) -> None:
    job = make_job("Classification")
    trips().write_csv(tmp_path / "trips.csv")
    data = read(job, tmp_path, NOW)
    engine = LocalEngine(1)
    whole = data.walk(data.select(engine), engine)
    text = pin(data).model_dump_json()
    selections = again(job, tmp_path, text).select(engine)
    for name in data.entrants:
        part = again(job, tmp_path, text).walk(selections, engine, {name})
        assert list(part) == [name]
        assert np.array_equal(part[name].mean, whole[name].mean, equal_nan=True)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": "v2", "tables": {}, "sources": []}'])
def test_a_text_that_is_no_pin_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="the data of an earlier step cannot be read"):
        again(QUICKSTART, tmp_path, text)


def test_a_pin_of_other_software_is_refused(bars: tuple[Path, str, JobBars]) -> None:
    folder, text, _ = bars
    other = Pin.model_validate_json(text).model_copy(update={"lock": lock_digest({"numpy": "1.0.0"})})
    with pytest.raises(LakeError, match="an earlier step ran on other software") as raised:
        again(QUICKSTART, folder, other.model_dump_json())
    assert raised.value.remedy == "Run the pipeline again."


def test_a_lake_that_does_not_hold_what_is_pinned_is_refused(bars: tuple[Path, str, JobBars], tmp_path: Path) -> None:
    folder, text, _ = bars
    with pytest.raises(LakeError, match=r"has no table bars/default\.quickstart/sp500"):
        again(QUICKSTART, tmp_path, text)
    held = Pin.model_validate_json(text)
    table = held.tables["bars/sp500"].model_copy(update={"digest": "sha256:" + "0" * 64})
    other = held.model_copy(update={"tables": {**held.tables, "bars/sp500": table}})
    with pytest.raises(LakeError, match="was pinned"):
        again(QUICKSTART, folder, other.model_dump_json())


def test_pinned_bars_outlive_a_later_version_of_their_table(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    data = read(QUICKSTART, tmp_path, AT)
    text = pin(data).model_dump_json()
    lake.write("bars/default.quickstart/sp500", pl.DataFrame({"series": ["other"]}))
    found = again(QUICKSTART, tmp_path, text)
    assert isinstance(found, JobBars)
    assert found.digests == data.digests
