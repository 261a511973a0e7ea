"""Names and addresses by which the parts of the platform find each other, and those that nothing would find."""

from __future__ import annotations

import pytest
import yaml
from chart_case import CHARTS, PLATFORM, PROFILES, Scenario
from installs import SYSTEM, ToolError, charted, find

STANDARD = Scenario(PLATFORM, PROFILES / "standard.yaml")
# Of a Secret that is there already nothing is drawn, so that two renderings are the same.
EXISTING = ("--set", "auth.existingSecret=passwords")
SETUPS = {
    "clickhouse": ("--set", "databases={presage}"),
    "kafka": ("--set-json", 'topics=[{"name": "prices"}]'),
    "minio": ("--set-json", 'buckets=[{"name": "presage"}]'),
    "mysql": (),
}


def setup(chart: str, *words: str) -> str:
    """Return the name of the chart's Job that sets up."""
    return find(Scenario(CHARTS / chart).render(*EXISTING, *SETUPS[chart], *words), "Job")["metadata"]["name"]


@pytest.mark.parametrize("chart", SETUPS)
def test_a_job_that_cannot_be_changed_has_another_name_where_its_pod_is_another(chart: str) -> None:
    name = setup(chart)
    assert name.startswith(f"presage-{chart}-setup-")
    assert setup(chart) == name
    changes = (
        "image.tag=another",
        "imagePullSecrets[0].name=registry",
        "podLabels.team=desk",
        "priorityClassName=high",
    )
    assert len({name, *(setup(chart, "--set", change) for change in changes)}) == 1 + len(changes)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("minio.nameOverride=store", "minio: others find it by the name presage-minio"),
        ("mysql.fullnameOverride=database", "mysql: others find it by the name presage-mysql"),
        ("mlflow.nameOverride=runs", "mlflow: others find it by the name presage-mlflow"),
        ("monitoring.fullnameOverride=watch", "monitoring: others find it by the name presage-<part>"),
        ("nameOverride=oracle", "leave it empty, or set fullnameOverride"),
    ],
)
def test_a_name_that_nothing_would_find_is_refused(words: str, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        STANDARD.render("--set", words)


@pytest.mark.parametrize("release", ["mysql", "my-minio", "monitoring-eu", "r" * 36])
def test_a_release_whose_name_changes_those_of_its_parts_is_refused(release: str) -> None:
    with pytest.raises(ToolError, match="the release one of 35 characters at most without"):
        charted("--values", PROFILES / "standard.yaml", release=release)


def test_with_the_longest_name_of_a_release_each_address_is_that_of_a_service() -> None:
    release = "r" * 35
    objects = charted("--values", PROFILES / "full.yaml", release=release)
    services = {one["metadata"]["name"] for one in objects if one["kind"] == "Service"}
    settings = yaml.safe_load(find(objects, "ConfigMap", f"{release}-presage-operator")["data"]["settings.yaml"])
    addresses = (settings["lake"]["s3"]["endpoint"], settings["tracking"]["uri"], settings["pushgateway"])
    assert {one.removeprefix("http://").partition(f".{SYSTEM}.svc:")[0] for one in addresses} <= services


def test_the_addresses_of_servers_with_tls_say_so() -> None:
    secure = ("minio", "mlflow", "mysql")
    objects = STANDARD.render(
        "--set", ",".join(f"{name}.tls.enabled=true,{name}.tls.existingSecret={name}-tls" for name in secure),
        "--set", "mlflow.artifacts.endpoint=https://presage-minio:9000,mlflow.database.authoritySecret=mysql-tls",
        "--set", "monitoring.grafana.mysql.authoritySecret=mysql-tls",
    )  # fmt: skip
    settings = yaml.safe_load(find(objects, "ConfigMap", "presage-operator")["data"]["settings.yaml"])
    assert settings["lake"]["s3"]["endpoint"] == f"https://presage-minio.{SYSTEM}.svc:9000"
    assert settings["tracking"]["uri"] == f"https://presage-mlflow.{SYSTEM}.svc:5000"
    assert settings["pushgateway"] == f"http://presage-pushgateway.{SYSTEM}.svc:9091"
    sources = yaml.safe_load(find(objects, "ConfigMap", "presage-grafana")["data"]["datasources.yaml"])["datasources"]
    (mysql,) = (one for one in sources if one["type"] == "mysql")
    assert mysql["jsonData"]["tlsAuthWithCACert"] is True
    pod = find(objects, "Deployment", "presage-grafana")["spec"]["template"]["spec"]
    (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "mysql-authority")
    (volume,) = (one for one in pod["volumes"] if one["name"] == "mysql-authority")
    assert (
        mysql["secureJsonData"]["tlsCACert"]
        == f"$__file{{{mount['mountPath']}/{volume['secret']['items'][0]['path']}}}"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("mysql.tls.enabled=true,mysql.tls.existingSecret=tls", "mlflow.database.authoritySecret"),
        (
            "mysql.tls.enabled=true,mysql.tls.existingSecret=tls,mlflow.database.authoritySecret=tls",
            "monitoring.grafana.mysql.authoritySecret",
        ),
        ("minio.tls.enabled=true,minio.tls.existingSecret=tls", "mlflow.artifacts.endpoint: .* https://presage-minio"),
    ],
    ids=["MLflow and MySQL", "Grafana and MySQL", "MLflow and MinIO"],
)
def test_who_would_ask_a_server_with_tls_without_it_is_refused(words: str, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        STANDARD.render("--set", words)


def test_the_secrets_that_log_in_may_be_somebody_elses() -> None:
    def secrets(*words: str) -> set[str]:
        return {one["metadata"]["name"] for one in STANDARD.render(*words) if one["kind"] == "Secret"}

    theirs = {f"presage-{name}" for name in ("lake", "mlflow-artifacts", "backup", "results")}
    assert secrets() - secrets("--set", "credentials.create=false") == theirs
