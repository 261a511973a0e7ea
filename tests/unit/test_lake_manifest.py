"""Run manifests: whole or not at all, read strictly, newest first."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from presage.errors import LakeError
from presage.lake.manifest import PinnedIncumbent, RunManifest, list_manifests, load_manifest, save_manifest
from presage.lake.tables import TableVersion

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
V1 = """{
  "version": "v1",
  "run": "20240601T120000Z-b9769ff3",
  "job": "quickstart",
  "namespace": "default",
  "spec_digest": "sha256:a",
  "procedure_digest": "sha256:b",
  "tables": {
    "sp500": {"table": "raw/default.quickstart/sp500", "version": 3, "rows": 5031, "digest": "sha256:1"},
    "trials": {"table": "trials/default.quickstart", "version": 0, "rows": 9264, "digest": "sha256:2"}
  },
  "seed": 7,
  "lock_digest": "sha256:c",
  "created_at": "2024-06-01T12:00:00Z",
  "scorecard_digest": "sha256:d"
}
"""
RAW = TableVersion(table="raw/default.quickstart/sp500", version=3, rows=5031, digest="sha256:" + "1" * 64)


def manifest(run: str = "20240601-120000", created_at: datetime = NOW, **fields) -> RunManifest:
    return RunManifest(
        run=run,
        job="quickstart",
        namespace="default",
        spec_digest="sha256:a",
        procedure_digest="sha256:b",
        tables={"sp500": RAW},
        seed=0,
        lock_digest="sha256:c",
        created_at=created_at,
        **fields,
    )


def test_a_manifest_is_read_back_as_it_was(tmp_path):
    written = manifest(scorecard_digest="sha256:d")
    path = save_manifest(tmp_path / "runs" / "one", written)
    assert path == tmp_path / "runs" / "one" / "manifest.json"
    assert load_manifest(path) == written
    assert json.loads(path.read_text())["version"] == "v2"
    assert [child.name for child in path.parent.iterdir()] == ["manifest.json"]


def test_a_manifest_takes_the_place_of_an_earlier_one_of_its_run(tmp_path):
    save_manifest(tmp_path, manifest())
    path = save_manifest(tmp_path, manifest(scorecard_digest="sha256:d"))
    assert load_manifest(path).scorecard_digest == "sha256:d"


def test_times_are_utc_whatever_the_file_says(tmp_path):
    eastern = NOW.astimezone(timezone(timedelta(hours=-4)))
    loaded = load_manifest(save_manifest(tmp_path, manifest(created_at=eastern)))
    assert loaded.created_at == NOW
    assert loaded.created_at.utcoffset() == timedelta(0)


def test_manifests_are_listed_newest_first_and_drafts_do_not_count(tmp_path):
    for job in ("a", "b"):
        for number in (2, 10, 1):
            run = f"{job}{number}"
            save_manifest(tmp_path / job / run, manifest(run, NOW + timedelta(hours=number, minutes=job == "b")))
    save_manifest(tmp_path / "a" / ".draft-x", manifest("draft"))
    assert [found.run for found in list_manifests(tmp_path)] == ["b10", "a10", "b2", "a2", "b1", "a1"]
    assert [found.run for found in list_manifests(tmp_path / "a")] == ["a10", "a2", "a1"]
    assert list_manifests(tmp_path / "missing") == ()


def test_a_hidden_directory_above_does_not_hide_the_runs(tmp_path):
    save_manifest(tmp_path / ".presage" / "runs" / "one", manifest())
    assert len(list_manifests(tmp_path / ".presage" / "runs")) == 1


def changed(**fields) -> str:
    return json.dumps(json.loads(manifest().model_dump_json()) | fields)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"version": "v1"}', "cannot be read"),
        (manifest().model_dump_json()[:-20], "cannot be read"),
        (changed(extra=1), "cannot be read"),
        (changed(created_at="2024-06-01T12:00:00"), "cannot be read"),
        (changed(version="v3", new_field=1), r"has the version 'v3', and this Presage reads v1 and v2\. Use the"),
    ],
    ids=["empty", "broken", "no object", "incomplete", "cut off", "unknown field", "no offset", "newer"],
)
def test_a_manifest_that_cannot_be_read_says_why(tmp_path, text, complaint):
    path = tmp_path / "run" / "manifest.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(LakeError, match=f"The run manifest {path} {complaint}"):
        load_manifest(path)
    with pytest.raises(LakeError, match="The run manifest"):
        list_manifests(tmp_path)


def test_a_missing_manifest_says_so(tmp_path: Path):
    with pytest.raises(LakeError, match="No such file"):
        load_manifest(tmp_path / "manifest.json")


def test_a_manifest_of_the_first_version_is_read_without_what_came_later(tmp_path: Path):
    path = tmp_path / "manifest.json"
    path.write_text(V1)
    found = load_manifest(path)
    assert (found.version, found.run, found.seed) == ("v1", "20240601T120000Z-b9769ff3", 7)
    assert (found.inputs, found.lock, found.cpu, found.tried, found.incumbent, found.replaced) == (
        None, {}, None, None, None, (),
    )  # fmt: skip
    assert [version.table for version in found.pinned] == ["raw/default.quickstart/sp500", "trials/default.quickstart"]


def test_what_a_verdict_counted_and_compared_with_is_pinned_too(tmp_path: Path):
    tried, before = (RAW.model_copy(update={"table": "trials/default.quickstart", "version": n}) for n in (4, 2))
    incumbent = PinnedIncumbent(run="earlier", procedure="sha256:b", model="ridge", trials=before)
    written = manifest(inputs="e", lock={"numpy": "2.2"}, cpu="arm64", tried=tried, incumbent=incumbent)
    assert load_manifest(save_manifest(tmp_path, written)) == written
    assert written.pinned == (RAW, tried, before)
