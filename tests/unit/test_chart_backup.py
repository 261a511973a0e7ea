"""The chart's backups: what is copied where, with whose keys, and that nothing restores by itself."""

from __future__ import annotations

import pytest
import yaml
from chart_case import PLATFORM, PROFILES, Scenario, containers, pod_templates
from installs import ToolError

STANDARD = Scenario(PLATFORM, PROFILES / "standard.yaml")
ON = ("--set", "backup.enabled=true")


def objects(*words: str, scenario: Scenario = STANDARD) -> dict[str, dict]:
    """The objects of backups by kind and name."""
    return {
        f"{one['kind']} {one['metadata']['name']}": one
        for one in scenario.render(*ON, *words)
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "backup"
    }


def container(found: dict[str, dict], cron_job: str, name: str) -> dict:
    template = found[f"CronJob {cron_job}"]["spec"]["jobTemplate"]["spec"]["template"]
    return next(one for one in containers(template) if one["name"] == name)


def variables(one: dict) -> dict[str, str]:
    """Variables by name: their text, or the Secret that they are from."""
    return {
        each["name"]: each.get("value") or each["valueFrom"].get("secretKeyRef", {}).get("name", "")
        for each in one["env"]
    }


def test_without_being_wanted_there_is_none() -> None:
    assert not [one for one in STANDARD.render() if "backup" in str(one["metadata"].get("labels", {}).values())]


def test_the_platforms_lakes_artefacts_and_databases_are_backed_up_to_a_volume() -> None:
    found = objects()
    (first,) = (name for name in found if name.startswith("Job presage-backup-volume-"))
    assert set(found) - {first} == {
        "CronJob presage-backup",
        "CronJob presage-restore",
        "NetworkPolicy presage-backup",
        "PersistentVolumeClaim presage-backup",
    }
    (claim,) = (one for one in found[first]["spec"]["template"]["spec"]["volumes"] if "persistentVolumeClaim" in one)
    assert claim["persistentVolumeClaim"]["claimName"] == "presage-backup"
    backup = container(found, "presage-backup", "backup")
    assert backup["args"] == [
        "backup", "lakes=s3://presage/lakes", "mlflow=s3://mlflow", "--to", "/backups", "--keep", "7",
        "--file", "/dump/mysql.sql",
    ]  # fmt: skip
    assert backup["image"] == "presage/steps:0.1.0"
    given = variables(backup)
    assert given["AWS_ENDPOINT_URL"] == "http://presage-minio.presage-system.svc:9000"
    assert given["AWS_SECRET_ACCESS_KEY"] == "presage-backup"
    assert given["PRESAGE_PUSHGATEWAY"] == "http://presage-pushgateway.presage-system.svc:9091"
    assert not [name for name in given if name.startswith("PRESAGE_BACKUP_")]
    spec = found["CronJob presage-backup"]["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("17 2 * * *", "Etc/UTC", "Forbid")
    assert found["PersistentVolumeClaim presage-backup"]["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep"
    }


def test_the_database_is_dumped_first_and_its_password_is_no_argument() -> None:
    found = objects()
    template = found["CronJob presage-backup"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (dump,) = template["initContainers"]
    assert "--single-transaction" in dump["args"][0]
    assert "--databases mlflow presage" in dump["args"][0]
    assert variables(dump)["MYSQL_PWD"] == "presage-mysql"
    assert dump["image"] == "mysql:8.4.10"
    assert "PWD" not in dump["args"][0]


def test_a_restore_waits_for_a_person_and_writes_the_buckets_before_the_databases() -> None:
    found = objects("--set", "backup.restore.time=20261122T021700Z")
    assert found["CronJob presage-restore"]["spec"]["suspend"] is True
    template = found["CronJob presage-restore"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert [one["name"] for one in template["initContainers"]] == ["restore"]
    assert [one["name"] for one in template["containers"]] == ["load"]
    assert template["initContainers"][0]["args"] == [
        "restore", "/backups/20261122T021700Z", "--to", "lakes=s3://presage/lakes", "--to", "mlflow=s3://mlflow",
        "--files", "/dump",
    ]  # fmt: skip


def test_backups_may_go_to_a_bucket_of_another_store() -> None:
    found = objects(
        "--set", "backup.target.uri=s3://backups/presage,backup.target.region=eu-central-1",
        "--set", "backup.target.existingSecret=backup-store",
    )  # fmt: skip
    assert {name.partition(" ")[0] for name in found} == {"CronJob", "NetworkPolicy"}
    backup = container(found, "presage-backup", "backup")
    given = variables(backup)
    assert backup["args"][3:5] == ["--to", "s3://backups/presage"]
    assert given["PRESAGE_BACKUP_AWS_ENDPOINT_URL"] == "https://s3.eu-central-1.amazonaws.com"
    assert given["PRESAGE_BACKUP_AWS_ACCESS_KEY_ID"] == given["PRESAGE_BACKUP_AWS_SECRET_ACCESS_KEY"] == "backup-store"
    assert given["AWS_SECRET_ACCESS_KEY"] == "presage-backup"


def test_what_is_there_already_is_backed_up_too() -> None:
    found = objects(
        "--set", "external.s3.uri=s3://own/lakes,external.s3.endpoint=https://s3.example.com,external.s3.secretName=own",
        "--set", "backup.mysql.host=db.example.com,backup.mysql.existingSecret=db,backup.mysql.databases={mlflow}",
        "--set", "backup.places[0].name=artifacts,backup.places[0].uri=s3://own/mlflow",
        scenario=Scenario(PLATFORM),
    )  # fmt: skip
    backup, dump = (container(found, "presage-backup", name) for name in ("backup", "dump"))
    assert backup["args"][1:3] == ["lakes=s3://own/lakes", "artifacts=s3://own/mlflow"]
    assert variables(backup)["AWS_SECRET_ACCESS_KEY"] == "own"
    assert "--host=db.example.com --port=3306 --user=root" in dump["args"][0]
    assert variables(dump)["MYSQL_PWD"] == "db"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("replicas=1", "no bucket is known to back up"),
        ("minio.enabled=true,backup.mysql.host=db", "name the Secret with the password"),
        ("minio.enabled=true,mysql.enabled=true,backup.mysql.host=db", "with mysql.enabled that one is dumped"),
        ("minio.enabled=true,backup.target.uri=s3://a/b,backup.target.volume.existingClaim=c", "give uri or volume"),
        ("minio.enabled=true,backup.keep=0", "keep"),
        ("minio.enabled=true,backup.mysql.databases={a;b}", "databases"),
    ],
)
def test_values_that_make_no_backup_are_refused(words: str, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        Scenario(PLATFORM).render(*ON, "--set", words)


def test_its_pods_are_restricted_and_reach_named_ports_alone() -> None:
    found = objects()
    for place, template in pod_templates(list(found.values())):
        assert template["spec"]["automountServiceAccountToken"] is False, place
        for one in containers(template):
            assert one["securityContext"]["readOnlyRootFilesystem"] is True
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in one["resources"]["limits"]
        policy = found["NetworkPolicy presage-backup"]["spec"]
        assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert "ingress" not in policy
        assert all(rule["ports"] for rule in policy["egress"])


def test_minio_has_a_user_for_backups_who_may_read_each_of_its_buckets() -> None:
    objects = STANDARD.render()
    secrets = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "Secret"}
    assert set(secrets["presage-backup"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    minio = yaml.safe_load((PLATFORM / "values.yaml").read_text())["minio"]
    (user,) = (one for one in minio["users"] if one["existingSecret"].endswith("-backup"))
    assert user["buckets"] == [one["name"] for one in minio["buckets"]]


def test_a_store_with_tls_is_backed_up_by_it() -> None:
    found = objects("--set", "minio.tls.enabled=true,minio.tls.existingSecret=tls,mlflow.enabled=false")
    endpoint = variables(container(found, "presage-backup", "backup"))["AWS_ENDPOINT_URL"]
    assert endpoint == "https://presage-minio.presage-system.svc:9000"
