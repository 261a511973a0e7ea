"""A job that goes on: data that grows, repeats, earlier days, retention, and history that counts what was tried."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from arch.data import sp500
from commands import presage

JOB = {
    "apiVersion": "presage.dev/v1alpha1",
    "kind": "PredictionJob",
    "metadata": {"name": "grows"},
    "spec": {
        "frequency": "1d",
        "target": {"source": "index", "column": "range_volatility"},
        "sources": [
            {"name": "index", "file": {"uri": "index.csv"}, "time": "Date", "availability": {"lag": "0s"}},
        ],
        "models": [{"name": "ridge"}],
        "evaluation": {"folds": 4, "testSize": 250},
        "retention": {"runs": 2},
    },
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(JOB))
    return tmp_path


def give(place: Path, rows: int) -> None:
    sp500.load().iloc[:rows][["High", "Low"]].reset_index().to_csv(place / "index.csv", index=False)


def run(place: Path, *words: str) -> dict:
    return presage("run", place / "job.yaml", "--workdir", place / "work", "-o", "json", *words).json()


def runs(place: Path) -> set[str]:
    return {path.parent.name for path in (place / "work" / "runs").glob("*/*/manifest.json")}


def champion(place: Path) -> dict:
    return json.loads((place / "work" / "champions" / "default.grows.json").read_text())["current"]


def test_a_refit_on_more_data_needs_no_new_proof_and_repeats_are_judged_alike(place: Path) -> None:
    give(place, 3000)
    first = run(place)
    assert first["scorecard"]["verdict"]["reason"] == "BetterThanBaseline"
    give(place, 3020)
    refit = run(place)
    assert refit["scorecard"]["verdict"]["reason"] == "NotWorseThanIncumbent"
    repeats = [run(place, "--no-cache") for _ in range(4)]
    assert {repeat["digest"] for repeat in repeats} == {refit["digest"]}
    assert len(runs(place)) <= 3, "two runs are kept, and the one that the repeat is compared with"
    assert first["run"] in runs(place)
    assert champion(place)["model"] == "ridge"


def test_a_run_as_of_an_earlier_day_does_not_replace_what_serves(place: Path) -> None:
    give(place, 3000)
    serves = run(place)
    earlier = run(place, "--as-of", "2010-06-01")
    assert earlier["scorecard"]["verdict"]["reason"] == "BetterThanBaseline"
    assert champion(place)["run"] == serves["run"]


def test_retention_leaves_the_runs_of_other_jobs_alone(place: Path) -> None:
    give(place, 3000)
    other = JOB | {"metadata": {"name": "other"}, "spec": JOB["spec"] | {"retention": {"runs": 20}}}
    (place / "other.yaml").write_text(yaml.safe_dump(other))
    kept = [
        presage("run", place / "other.yaml", "--workdir", place / "work", "-o", "json").json()["run"] for _ in range(3)
    ]
    for _ in range(3):
        run(place)
    assert set(kept) <= runs(place)


def test_every_changed_configuration_counts_as_tried(place: Path) -> None:
    give(place, 3000)
    assert run(place)["scorecard"]["tried"] == 1
    changed = JOB | {"spec": JOB["spec"] | {"models": [{"name": "ridge", "parameters": {"alpha": 9.0}}]}}
    (place / "job.yaml").write_text(yaml.safe_dump(changed))
    second = run(place)
    assert second["scorecard"]["tried"] == 2
    assert run(place)["scorecard"]["tried"] == 2


def test_a_lost_history_is_not_silently_forgotten_and_can_be_started_anew(place: Path) -> None:
    give(place, 3000)
    run(place)
    shutil.rmtree(place / "work" / "lake")
    ended = presage("run", place / "job.yaml", "--workdir", place / "work", code=6)
    assert "history of tried configurations" in ended.err
    named = [word.rstrip(",.") for word in ended.err.split() if word.startswith(str(place / "work"))]
    for path in map(Path, named):
        if path.is_dir() and path.name != "lake":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    assert run(place)["scorecard"]["tried"] == 1


def test_a_target_that_was_negative_has_no_relative_change(place: Path) -> None:
    give(place, 3000)
    text = (place / "index.csv").read_text().splitlines()
    text[1500] = text[1500].split(",")[0] + ",-30.0,-40.0"
    (place / "index.csv").write_text("\n".join(text) + "\n")
    spec = JOB["spec"] | {"target": {"source": "index", "column": "High", "transform": "LogChange"}}
    (place / "job.yaml").write_text(yaml.safe_dump(JOB | {"spec": spec}))
    ended = presage("run", place / "job.yaml", "--workdir", place / "work", code=5)
    assert text[1500].split(",")[0] in ended.err
    assert "-30" in ended.err
    assert "Difference" in ended.err
