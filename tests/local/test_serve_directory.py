"""What the server takes from a model directory, look by look."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from presage.errors import DataError
from presage.models.bundle import MANIFEST, SIZE_AT_MOST, Bundle, FrameSchema, write_bundle
from presage.spec.forecast import FORECAST, ForecastStep, ForecastSummary
from presage.spec.models import ModelName
from presage_serving.directory import BUNDLE, ModelDirectory
from presage_serving.forecast import parse_forecast
from presage_serving.metrics import Metrics

START = datetime(2026, 1, 5, tzinfo=UTC)
REFUSALS = "presage_server_directory_refusals_total"


def forecast(**fields: object) -> ForecastSummary:
    steps = tuple(
        ForecastStep(target_time=START + timedelta(days=day), mean=day + 0.5, quantiles={"q0.1": day, "q0.9": day + 1})
        for day in range(2)
    )
    given = {
        "job": "house", "namespace": "default", "series": "price", "run": "one", "model": "naive", "promoted": False,
        "issued_at": START, "steps": steps,
    }  # fmt: skip
    return ForecastSummary.model_validate(given | fields)


def issue(directory: Path, summary: ForecastSummary) -> None:
    """Replace the file as the forecast cadence does: another file takes its name."""
    beside = directory / "new"
    beside.write_text(summary.model_dump_json())
    beside.replace(directory / FORECAST)


def fit(directory: Path, model: ModelName = "naive") -> None:
    manifest = Bundle(
        job="house", namespace="default", spec_digest="sha256:0", lock_digest="sha256:1", seed=0, model=model,
        frame=FrameSchema(target="house.price", series=("price",)), transform="Level", horizon=2, season=1,
        frequency="1d", train_start=START, train_end=START, created_at=START,
    )  # fmt: skip
    write_bundle(directory / BUNDLE, manifest, {"state.json": b"{}"})


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def directory(tmp_path: Path, metrics: Metrics) -> ModelDirectory:
    fit(tmp_path)
    issue(tmp_path, forecast())
    return ModelDirectory(tmp_path, metrics)


def refusals(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value(REFUSALS)


def test_nothing_is_served_before_the_first_look(directory: ModelDirectory) -> None:
    assert directory.served is None
    assert directory.fault == "The model directory is being read."


def test_a_sound_directory_is_served(directory: ModelDirectory) -> None:
    directory.refresh()
    assert directory.served is not None
    assert directory.served.forecasts[0].means == (0.5, 1.5)
    assert directory.served.forecasts[0].probabilities == (0.1, 0.9)
    assert directory.served.forecasts[0].quantiles == ((0, 1), (1, 2))
    assert directory.fault == ""


def test_a_bundle_that_nothing_was_served_from_may_be_replaced(directory: ModelDirectory) -> None:
    (directory.path / FORECAST).unlink()
    directory.refresh()
    assert "forecast.json cannot be read" in directory.fault
    fit(directory.path, "ridge")
    issue(directory.path, forecast(model="ridge"))
    directory.refresh()
    assert directory.fault == ""
    assert directory.served is not None
    assert directory.served.model == "ridge"


def test_a_broken_forecast_is_logged_and_counted_once(
    directory: ModelDirectory, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    directory.refresh()
    good = directory.served
    (directory.path / FORECAST).write_text("{")
    for _ in range(3):
        directory.refresh()
    assert directory.served is good
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "model directory refused"
    ]
    assert refusals(metrics) == 1


def test_a_directory_that_stays_broken_from_the_start_is_counted_once(tmp_path: Path, metrics: Metrics) -> None:
    directory = ModelDirectory(tmp_path, metrics)
    for _ in range(3):
        directory.refresh()
    assert "the bundle" in directory.fault
    assert refusals(metrics) == 1


def test_another_fault_after_the_first_is_counted_again(directory: ModelDirectory, metrics: Metrics) -> None:
    directory.refresh()
    for text in ("{", "[]"):
        (directory.path / FORECAST).write_text(text)
        directory.refresh()
    assert refusals(metrics) == 2


def test_the_next_good_forecast_takes_the_place_of_a_broken_one(directory: ModelDirectory) -> None:
    directory.refresh()
    (directory.path / FORECAST).write_text("{")
    directory.refresh()
    issue(directory.path, forecast(issued_at=START + timedelta(days=1)))
    directory.refresh()
    assert directory.served is not None
    assert directory.served.issued_at == START + timedelta(days=1)
    assert directory.fault == ""


def test_a_good_forecast_that_comes_back_unchanged_mends_the_directory(directory: ModelDirectory) -> None:
    directory.refresh()
    good = directory.served
    (directory.path / FORECAST).write_text("{")
    directory.refresh()
    assert directory.fault
    issue(directory.path, forecast())
    directory.refresh()
    assert directory.fault == ""
    assert directory.served == good


def test_the_same_moment_may_be_issued_again_on_revised_data(directory: ModelDirectory) -> None:
    directory.refresh()
    issue(directory.path, forecast(series="other"))
    directory.refresh()
    assert directory.served is not None
    assert directory.served.forecasts[0].series == "other"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"run": "two"}, "forecast.json is of run two, and run one is served"),
        ({"issued_at": START - timedelta(days=1)}, "before the one that is served"),
        ({"job": "flat"}, "forecast.json is of default.flat by naive, and the bundle beside it is of default.house by"),
        ({"model": "ridge"}, "forecast.json is of default.house by ridge"),
    ],
    ids=["another run", "an older one", "another job", "another model"],
)
def test_a_forecast_that_does_not_belong_there_is_not_served(
    directory: ModelDirectory, fields: dict[str, object], sentence: str
) -> None:
    directory.refresh()
    good = directory.served
    issue(directory.path, forecast(**fields))
    directory.refresh()
    assert directory.served is good
    assert sentence in directory.fault


def test_a_removed_directory_leaves_the_last_good_forecast_in_place(directory: ModelDirectory) -> None:
    directory.refresh()
    good = directory.served
    directory.path.rename(directory.path.with_name("gone"))
    directory.refresh()
    assert directory.served is good
    assert "forecast.json cannot be read" in directory.fault


def test_a_forecast_that_is_a_directory_or_too_large_is_no_forecast(directory: ModelDirectory) -> None:
    (directory.path / FORECAST).unlink()
    (directory.path / FORECAST).mkdir()
    directory.refresh()
    assert "forecast.json cannot be read: Is a directory" in directory.fault
    (directory.path / FORECAST).rmdir()
    (directory.path / FORECAST).write_bytes(b" " * (2**24 + 1))
    directory.refresh()
    assert "is larger than the 16777216 bytes that are read" in directory.fault


def change(**fields: object) -> Callable[[dict], None]:
    return lambda content: content.update(fields)


def change_step(**fields: object) -> Callable[[dict], None]:
    return lambda content: content["steps"][1].update(fields)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (change(steps=[]), "there are no steps"),
        (change(run=None), "Input should be a valid string at run"),
        (change(issued_at="2026-01-05T00:00:00"), "a time has no zone"),
        (change(stale_after="2026-01-05T00:00:00"), "a time has no zone"),
        (change_step(mean=None), "Input should be a valid number at steps.1.mean"),
        (change_step(mean=float("nan")), "a number is not finite at steps.1"),
        (change_step(quantiles={"q0.1": 0.0, "q0.9": float("inf")}), "a number is not finite at steps.1"),
        (change_step(quantiles={"q0.1": 0.0}), "other quantiles than in the first step at steps.1"),
        (change_step(target_time="2026-01-05T00:00:00Z"), "the target times do not ascend"),
        (change(steps=[{"target_time": "2026-01-05T00:00:00Z", "mean": 0, "quantiles": {"p50": 0}}]), "'p50' is no"),
        (change(steps=[{"target_time": "2026-01-05T00:00:00Z", "mean": 0, "quantiles": {"q1": 0}}]), "'q1' is no"),
    ],
    ids=range(11),
)
def test_a_forecast_with_a_fault_cannot_be_served(spoil: Callable[[dict], None], sentence: str) -> None:
    content = json.loads(forecast().model_dump_json())
    spoil(content)
    with pytest.raises(DataError, match="the forecast cannot be served") as refused:
        parse_forecast(json.dumps(content).encode())
    assert sentence in str(refused.value)


def test_fields_that_a_later_version_adds_do_no_harm() -> None:
    content = json.loads(forecast().model_dump_json()) | {"drift": 0.1}
    assert parse_forecast(json.dumps(content).encode()) == parse_forecast(forecast().model_dump_json().encode())


def change_manifest(directory: Path, old: bytes, new: bytes) -> None:
    path = directory / BUNDLE / MANIFEST
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def grow(directory: Path) -> None:
    with (directory / BUNDLE / "state.json").open("r+b") as file:
        file.truncate(SIZE_AT_MOST + 1)


def lead_elsewhere(directory: Path) -> None:
    state = directory / BUNDLE / "state.json"
    state.rename(directory / "elsewhere.json")
    state.symlink_to(directory / "elsewhere.json")


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a wrong digest": (lambda d: change_manifest(d, b'"sha256": "', b'"sha256": "0'), "sha256"),
    "cut off": (lambda d: (d / BUNDLE / "state.json").write_bytes(b"{"), "is not what its manifest says"),
    "a flipped bit": (lambda d: (d / BUNDLE / "state.json").write_bytes(b"{y"), "is not what its manifest says"),
    "a flipped bit of the manifest": (lambda d: change_manifest(d, b'"season": 1', b'"season": 3'), "manifest_sha256"),
    "oversized": (grow, "larger than"),
    "a path outside": (lambda d: change_manifest(d, b'"state.json"', b'"../st.json"'), "manifest_sha256"),
    "a link": (lead_elsewhere, "a link or a device"),
    "another file": (lambda d: (d / BUNDLE / "model.pkl").write_bytes(b"x"), "which its manifest does not name"),
    "a newer version": (lambda d: change_manifest(d, b'"version": "v3"', b'"version": "v4"'), "has version 'v4'"),
}
every_spoilt_bundle = pytest.mark.parametrize("kind", SPOILT)


@every_spoilt_bundle
def test_a_bundle_that_is_spoilt_while_it_serves_leaves_the_last_good_answers(
    directory: ModelDirectory, kind: str
) -> None:
    directory.refresh()
    good = directory.served
    assert good is not None
    SPOILT[kind][0](directory.path)
    directory.refresh()
    assert directory.served is good


@every_spoilt_bundle
def test_a_server_starts_from_no_spoilt_bundle_and_serves_once_it_is_good_again(
    directory: ModelDirectory, metrics: Metrics, kind: str
) -> None:
    spoil, fault = SPOILT[kind]
    spoil(directory.path)
    directory.refresh()
    assert directory.served is None
    assert fault in directory.fault
    assert refusals(metrics) == 1
    shutil.rmtree(directory.path / BUNDLE)
    fit(directory.path)
    directory.refresh()
    assert directory.served is not None
