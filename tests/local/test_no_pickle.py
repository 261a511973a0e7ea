"""Nothing that reads a bundle, of a disk, a registry or a server, ever unpickles."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import bundle_case
import httpx
import model_server
import numpy as np
import pytest
from commands import ENVIRONMENT, ROOT
from no_pickle import REACHED
from tracking_case import QUIET, give, make_job, place_of, run

from presage.models import learners, registry
from presage.models.bundle import read_bundle
from presage.steps.track import track_runs
from presage.tracking.place import own_place

SCRIPT = ROOT / "tests" / "no_pickle.py"
CONTROLS = {
    "loads": "import pickle; pickle.loads(pickle.dumps(1))",
    "load": "import io, pickle; pickle.load(io.BytesIO(pickle.dumps(1)))",
    "Unpickler": "import io, pickle; pickle.Unpickler(io.BytesIO(pickle.dumps(1))).load()",
    "python-Unpickler": "import io, pickle; pickle._Unpickler(io.BytesIO(pickle.dumps(1))).load()",
    "C-loads": "import _pickle, pickle; _pickle.loads(pickle.dumps(1))",
    "multiprocessing": "import pickle; from multiprocessing.reduction import ForkingPickler as one;"
    "one.loads(pickle.dumps(1))",
    "cloudpickle": "import cloudpickle; cloudpickle.loads(cloudpickle.dumps(1))",
    "dill": "import dill; dill.loads(dill.dumps(1))",
    "joblib": "import io, joblib; file = io.BytesIO(); joblib.dump(1, file); file.seek(0); joblib.load(file)",
    "numpy": "import io, numpy; file = io.BytesIO(); numpy.save(file, numpy.array([{}]), allow_pickle=True);"
    "file.seek(0); numpy.load(file, allow_pickle=True)",
    "pandas": "import pandas; from pathlib import Path; pandas.Series([1]).to_pickle('one'); pandas.read_pickle('one')",
}


def guarded(*words: str | Path, code: int = 0, cwd: Path | None = None, **environment: str) -> str:
    """Run the script, and return what it wrote to stdout."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT | environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", [way for way in CONTROLS if way != "dill" or find_spec("dill")])
def test_a_process_that_unpickles_is_ended(way: str, tmp_path: Path) -> None:
    """The control: where this passes, the tests below can fail."""
    guarded("control", CONTROLS[way], code=REACHED, cwd=tmp_path)


def test_an_audit_event_ends_a_process_whatever_was_replaced(tmp_path: Path) -> None:
    kept = "import sys; sys.audit('pickle.find_class', 'os', 'system')"
    guarded("control", kept, code=REACHED, cwd=tmp_path)


def test_every_kind_of_model_is_read_and_predicts(tmp_path: Path) -> None:
    words: list[str | Path] = []
    expected = {}
    for task, name in bundle_case.KINDS:
        directory = tmp_path / f"{task}-{name}"
        bundle_case.write(directory, task, name)
        words += [task, directory]
        expected[str(directory)] = predictions(directory, task, name)
    made = json.loads(guarded("predict", *words))
    assert set(made) == set(expected)
    for place, numbers in made.items():
        np.testing.assert_array_equal(numbers, expected[place], err_msg=place)


def predictions(directory: Path, task: str, name: str) -> list[float]:
    frame, (_, files) = bundle_case.small_frame(), read_bundle(directory)
    if task == "Forecast":
        made = registry.load(name, files).predict(frame, np.arange(len(frame) - 5, len(frame)))
    else:
        made = learners.load(name, files).predict(frame.features[-5:])
    return made.ravel().tolist()


def test_a_registered_bundle_is_downloaded_and_read(tmp_path: Path) -> None:
    give(tmp_path)
    job = make_job(models=[{"name": "ridge"}, {"name": "xgboost", "parameters": {"n_estimators": 10}}])
    done = run(job, tmp_path, datetime(2026, 3, 1, 12, tzinfo=UTC))
    place = own_place(tmp_path / "work")
    track_runs(job, place_of(tmp_path), place)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    uri = "models:/default.index@champion"
    name = guarded("download", uri, downloads, cwd=downloads, MLFLOW_TRACKING_URI=place.uri, **QUIET)
    assert name == done.summary.scorecard.verdict.champion


def test_a_server_loads_a_run_and_answers(
    quickstart_workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "guarded"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{SCRIPT}" presage "$@"\n')
    command.chmod(0o755)
    monkeypatch.setattr(model_server, "PRESAGE", command)
    with model_server.serving(model_server.run_in(quickstart_workdir)) as server:
        answer = httpx.post(f"{server.url}/v1/models/{model_server.NAME}:predict", json={"instances": [{}]}, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["predictions"][0]["steps"]
