"""The operator's configuration file: what is wrong in it is found when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from presage.errors import JobError
from presage_operator.settings import Settings, load_settings


def read(folder: Path, content: object) -> Settings:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_settings(path)


def volume(path: str) -> dict[str, object]:
    return {"dataVolumes": [{"claimName": "market", "mountPath": path}]}


def election(duration: int, deadline: int, period: float) -> dict[str, object]:
    times = {
        "leaseDurationSeconds": duration,
        "renewDeadlineSeconds": deadline,
        "retryPeriodSeconds": period,
    }
    return {"leaderElection": times}


@pytest.mark.parametrize("content", ["", "# nothing yet", "{}", "---"], ids=repr)
def test_a_file_that_says_nothing_gives_the_defaults(tmp_path: Path, content: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    assert load_settings(path) == load_settings(None) == Settings()


@pytest.mark.parametrize(
    "content",
    [
        {"images": {"steps": "registry.example.com:5000/steps@sha256:1", "pullSecrets": ["a.b-c"]}},
        {"lake": {"volume": {"size": "1.5Ti", "storageClassName": ""}}},
        {"lake": {"volume": None, "s3": {"uri": "s3://presage", "secretName": "keys"}}},
        {"serving": {"resources": {"requests": {"cpu": "2"}, "limits": {}}}},
        volume("/data/"),
        volume("/tmpfs"),
        volume("/var/lib/presage-data"),
        election(15, 10, 8),
        election(10, 10, 2) | {"leaderElection": {"enabled": False, "leaseDurationSeconds": 10}},
        {"namespaces": ["desk-1"], "serviceAccountName": "runs.desk"},
    ],
    ids=str,
)
def test_a_configuration_that_can_work_is_read(tmp_path: Path, content: object) -> None:
    assert read(tmp_path, content) == Settings.model_validate(content)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"images": {"steps": ""}}, "images.steps"),
        ({"images": {"server": ""}}, "images.server"),
        ({"images": {"pullSecrets": ["Registry"]}}, "images.pullSecrets.0"),
        ({"lake": {"volume": {"size": "10 GB"}}}, "lake.volume.size"),
        ({"lake": {"volume": {"size": ""}}}, "lake.volume.size"),
        ({"lake": {"volume": None}}, "lake: one of volume and s3"),
        ({"lake": {"s3": {"uri": "s3://presage", "secretName": "my_keys"}}}, "lake.s3.secretName"),
        ({"serving": {"resources": {"limits": {"memory": "1 Gi"}}}}, "serving.resources.limits.memory"),
        ({"serviceAccountName": "-runs"}, "serviceAccountName"),
        ({"namespaces": ["desk.one"]}, "namespaces.0"),
        ({"leaderElection": {"leaseName": "presage/operator"}}, "leaderElection.leaseName"),
        ({"leaderElection": {"namespace": "a" * 64}}, "leaderElection.namespace"),
        ({"dataVolumes": [{"claimName": "", "mountPath": "/data"}]}, "dataVolumes.0.claimName"),
        ({"dataVolumes": volume("/data")["dataVolumes"] * 2}, "dataVolumes: two of them"),
        ({"workers": 0}, "workers"),
        ({"laterField": 1}, "laterField"),
        ([], "dictionary"),
        (False, "dictionary"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_by_its_name(tmp_path: Path, content: object, place: str) -> None:
    with pytest.raises(JobError, match=place) as refused:
        read(tmp_path, content)
    assert refused.value.remedy


@pytest.mark.parametrize(
    "path",
    [
        "data",
        "/",
        "//data",
        "/data:ro",
        "/tmp",
        "/tmp/data",
        "/var/lib/presage/",
        "/data/../var/lib/presage/runs",
        "/etc/presage",
        "/var/lib",
        "/etc",
    ],
)
def test_data_is_mounted_over_nothing_of_a_run_s_own(tmp_path: Path, path: str) -> None:
    with pytest.raises(JobError, match=r"dataVolumes\.0.*mountPath"):
        read(tmp_path, volume(path))


@pytest.mark.parametrize("times", [(10, 10, 2), (10, 12, 2), (15, 2, 2), (15, 10, 8.5)], ids=str)
def test_times_with_which_two_replicas_could_work_are_refused(tmp_path: Path, times: tuple[int, int, float]) -> None:
    with pytest.raises(JobError, match="leaderElection: leaseDurationSeconds must be longer"):
        read(tmp_path, election(*times))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"workers: 1 # \xff", "is not YAML in UTF-8"),
        (b"workers: [", "is not YAML in UTF-8"),
        (b"workers: 2026-13-45", "is not YAML in UTF-8"),
        (b"workers: \x00", "is not YAML in UTF-8"),
    ],
    ids=repr,
)
def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(JobError, match=what) as refused:
        load_settings(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("name", ["missing.yaml", "."], ids=["missing", "a directory"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match="cannot be read"):
        load_settings(tmp_path / name)
