"""Dashboards, rules and runbooks agree with each other; the files are what they are made from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ROOT / "charts" / "monitoring" / "files"
RUNBOOKS = ROOT / "docs" / "runbooks"
BOARDS = ("btc", "data-quality", "jobs", "platform", "serving")
Labels = frozenset[tuple[str, str]]


def generate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "charts" / "dashboards" / "generate.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def alerts() -> list[dict]:
    return [
        rule
        for path in sorted((FILES / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def cases() -> Iterator[dict]:
    for path in sorted((ROOT / "tests" / "rules").glob("*.test.yaml")):
        for test in yaml.safe_load(path.read_text())["tests"]:
            yield from test["alert_rule_test"]


def own(labels: dict[str, str]) -> Labels:
    return frozenset((name, labels[name]) for name in ("severity", "window") if name in labels)


def test_the_files_are_what_they_are_made_from() -> None:
    done = generate("--check")
    assert done.returncode == 0, done.stderr


def test_a_file_that_differs_is_named_and_written_anew(tmp_path: Path) -> None:
    assert generate("--root", tmp_path).returncode == 0
    board = tmp_path / "charts" / "monitoring" / "files" / "dashboards" / "btc.json"
    before = board.read_text()
    board.write_text(before.replace("Presage / BTC", "mine"))
    done = generate("--root", tmp_path, "--check")
    assert done.returncode == 1
    assert "btc.json is not what it is made from" in done.stderr
    generate("--root", tmp_path)
    assert board.read_text() == before


@pytest.mark.parametrize("name", BOARDS)
def test_panels_fill_the_grid_without_covering_each_other(name: str) -> None:
    panels = json.loads((FILES / "dashboards" / f"{name}.json").read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_names_its_data_source_and_has_a_letter_of_its_own(name: str) -> None:
    board = json.loads((FILES / "dashboards" / f"{name}.json").read_text())
    assert board["uid"] == f"presage-{name}"
    for panel in board["panels"]:
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(letters)) == len(letters)
        assert {target["datasource"]["uid"] for target in panel.get("targets", ())} <= {"prometheus", "mysql"}


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_of_a_query_is_the_dashboards_own(name: str) -> None:
    board = json.loads((FILES / "dashboards" / f"{name}.json").read_text())
    own_ones = {one["name"] for one in board.get("templating", {}).get("list", ())}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([board["panels"], board.get("templating", {})])))
    assert used == own_ones


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        said = rule["annotations"]
        assert said["summary"].endswith(".")
        assert said["description"].endswith(".")
        assert re.search(r"\d|\$value", said["description"])
        assert said["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
        page = (ROOT / said["runbook_url"]).read_text()
        assert page.startswith(f"# {rule['alert']}\n")
        for part in ("Meaning", "Look", "Mend"):
            assert f"\n**{part}.**" in page, (rule["alert"], part)


def test_no_runbook_is_of_an_alert_that_is_none() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {rule["alert"] for rule in alerts()}
    index = (RUNBOOKS / "README.md").read_text()
    for name in pages:
        assert f"[{name}]({name}.md)" in index


@pytest.mark.parametrize("fires", [True, False])
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(fires: bool) -> None:
    seen = {
        (case["alertname"], own(rule["labels"]))
        for case in cases()
        for rule in alerts()
        if rule["alert"] == case["alertname"]
        and fires == any(own(one["exp_labels"]) == own(rule["labels"]) for one in case["exp_alerts"])
    }
    assert seen == {(rule["alert"], own(rule["labels"])) for rule in alerts()}
