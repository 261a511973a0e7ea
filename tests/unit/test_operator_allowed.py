"""Which places a job may read from and write to on a cluster, tricks included."""

from __future__ import annotations

import pytest

from presage.spec.job import PredictionJob
from presage_operator.allowed import refused_places
from presage_operator.settings import Settings

VOLUMES = {"dataVolumes": [{"claimName": "market", "mountPath": "/data/market/"}]}
DEFAULT = Settings.model_validate(VOLUMES)
LISTED = Settings.model_validate(
    VOLUMES
    | {
        "allowed": {
            "schemes": ["https", "s3", "postgresql", "sqlite", "chdb", "tcp"],
            "hosts": ["*.example.com", "10.1.2.3", "[2001:db8::1]", "db", "s3.eu-*.amazonaws.com"],
        }
    }
)


def job(**spec: object) -> PredictionJob:
    given = {
        "frequency": "1d",
        "target": {"source": "prices", "column": "close"},
        "sources": [source(dataset={"name": "arch/sp500"})],
    }
    head = {"apiVersion": "presage.dev/v1alpha1", "kind": "PredictionJob", "metadata": {"name": "a"}}
    return PredictionJob.model_validate(head | {"spec": given | spec})


def source(**kind: object) -> dict[str, object]:
    return {"name": "prices", "availability": {"lag": "0s"}, **kind}


def faults(settings: Settings, **kind: object) -> list[str]:
    return [str(problem) for problem in refused_places(job(sources=[source(**kind)]), settings)]


def of_url(url: str, settings: Settings = DEFAULT) -> list[str]:
    return faults(settings, http={"url": url})


def of_file(uri: str, settings: Settings = DEFAULT) -> list[str]:
    return faults(settings, file={"uri": uri})


def of_sql(uri: str, settings: Settings = LISTED) -> list[str]:
    return faults(settings, sql={"uri": uri, "table": "t"})


def test_a_data_set_inside_a_package_is_always_allowed() -> None:
    nothing = Settings.model_validate({"allowed": {"schemes": [], "hosts": []}})
    assert faults(nothing, dataset={"name": "arch/sp500"}) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://data.example.com/prices.csv",
        "HTTPS://Data.Example.COM:8443/prices.csv?from={start}&key={secret:KEY}",
        "http://10.0.0.7/prices.csv",
        "http://192.168.1.1:80",
        "http://[2001:db8::1]:8080/a",
        "http://prices.market.svc.cluster.local/a@b",
        "http://market-data/metadata",
        "http://my-metadata-service.market.svc/",
        "http://localhost.example.com/",
        "http://169.254.169.254.example.com/",
        "http://host_with_underscore/",
    ],
)
def test_an_ordinary_address_is_allowed_by_default(url: str) -> None:
    assert of_url(url) == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost/", "http://LOCALHOST./", "http://a.localhost/", "http://localhost.localdomain/"),
        *("http://ip6-localhost/", "http://127.0.0.1/", "http://127.1/", "http://127.255.0.9/", "http://127.0.0.1../"),
        *("http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://017700000001/"),
        *("http://0/", "http://0.0.0.0/", "http://0.1.2.3/", "http://[::]/", "http://[::1]/", "http://[::1]:80/"),
        *("http://[::ffff:127.0.0.1]/", "http://[::ffff:a9fe:a9fe]/", "http://[::127.0.0.1]/"),
        *("http://[64:ff9b::a9fe:a9fe]/", "http://[2002:7f00:1::]/", "http://[2002:a9fe:a9fe::1]/"),
        *("http://169.254.169.254/", "http://169.254.0.1/", "http://0xA9FEA9FE/", "http://2852039166/"),
        *("http://0251.0376.0251.0376/", "http://0xa9.254.0251.254/", "http://169.254.43518/", "http://[fe80::1]/"),
        *("http://[fd00:ec2::254]/", "http://[FD00:EC2:0:0::254]/", "http://100.100.100.200/", "http://168.63.129.16/"),
        *("http://metadata/", "http://metadata.google.internal/", "http://METADATA.google.internal./"),
        *("http://metadata.goog/", "http://instance-data/", "http://instance-data.ec2.internal/", "http://224.0.0.1/"),
        "http://a.metadata.google.internal:80/computeMetadata/v1/",
    ],
)
def test_loopback_link_local_and_metadata_are_never_allowed_however_they_are_written(url: str) -> None:
    (fault,) = of_url(url)
    assert "spec.sources[0].http.url: found" in fault
    assert "no loopback, link-local or metadata address" in fault


@pytest.mark.parametrize(
    "url",
    [
        *("http://user:pass@data.example.com/", "http://data.example.com@127.0.0.1/", "http://@a/"),
        *("http://{secret:HOST}/", "http://a.{start}.example.com/", "http://a b/", "http://a\\@127.0.0.1/"),
        *("http://127.0.0.1%2f.example.com/", "http://%6c%6fcalhost/", "http://①②⑦.⓪.⓪.①/", "http://loc\u0430lhost/"),
        *("http://", "http:///", "http://:80/", "http://a:b/", "http://a:1:2/", "http://[fe80::1%25eth0]/"),
        *("http://[::1/", "http://::1/", "http://[1.2.3.4]/", "http://[a]/", "http://256.256.256.256/"),
        *("http://1.2.3.4.5/", "http://08.1.1.1/", "http://0x/g", "http://-a/", "http://a..b/"),
        *("http://a\t.example.com/", "http://a.example.com/\n", "http://a.example.com/\x00", " http://a/"),
        *("//127.0.0.1/", "a.example.com/prices.csv", "http:/127.0.0.1/", "http:127.0.0.1", "httpx://a/"),
        *("file:///data/market/a.csv", "gopher://a/", "ftp://a/", "unix:///run/a.sock", "data:text/csv,a"),
    ],
)
def test_what_is_no_plain_address_of_an_allowed_scheme_is_refused(url: str) -> None:
    assert len(of_url(url)) == 1


def test_no_credential_of_an_address_is_shown() -> None:
    shown = " ".join(of_url("http://user:hunter2@a/") + of_url("ftp://a/?token=hunter2"))
    assert "hunter2" not in shown
    assert shown.count("spec.sources[0].http.url") == 2


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://data.example.com/", True),
        ("https://a.b.EXAMPLE.com./", True),
        ("https://example.com/", False),
        ("https://data.example.com.evil.net/", False),
        ("https://evil.net/data.example.com", False),
        ("https://evil.net#.example.com", False),
        ("https://evil.net?.example.com", False),
        ("http://data.example.com/", False),
        ("https://10.1.2.3/", True),
        ("https://0x0a.1.2.3/", True),
        ("https://10.1.2.4/", False),
        ("https://[2001:DB8:0::1]/", True),
        ("https://[2001:db8::2]/", False),
    ],
)
def test_hosts_and_schemes_are_those_of_the_configuration(url: str, allowed: bool) -> None:
    assert (of_url(url, LISTED) == []) == allowed


@pytest.mark.parametrize(
    "uri",
    [
        *("/data/market/prices.csv", "file:///data/market/a.csv", "FILE:///data/market/a%20b.csv"),
        *("file://localhost/data/market/a.csv", "/data/market/**/*.csv", "/data//market/./a b.csv"),
        "//data/market/a.csv",
    ],
)
def test_a_file_below_a_data_volume_is_allowed(uri: str) -> None:
    assert of_file(uri) == []


@pytest.mark.parametrize(
    "uri",
    [
        *("prices.csv", "../../data/market/a.csv", "/etc/passwd", "file:///etc/passwd", "/var/lib/presage/lake/x"),
        *("/data/market", "/data/market/", "/data/marketplace/a.csv", "/data/market/../../etc/passwd", "/data/a.csv"),
        *("/data/market/a/../b.csv", "file:///data/market/%2e%2e/%2e%2e/etc/passwd", "file:///data/market/..%2fa"),
        *("/data/market/a\x00.csv", "file:///data/market/a%00.csv", "/data/market/a\n.csv"),
        *("file://host/data/market/a.csv", "file://127.0.0.1/data/market/a.csv", "file:/data/market/a.csv"),
        *("s3://bucket/data/market/a.csv", "http://a/data/market/b.csv", "*"),
    ],
)
def test_a_file_elsewhere_is_refused(uri: str) -> None:
    (fault,) = of_file(uri)
    assert fault.startswith("spec.sources[0].file.uri: found")


def test_without_data_volumes_no_file_is_allowed() -> None:
    (fault,) = of_file("/data/market/a.csv", Settings())
    assert "no data volumes" in fault


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("postgresql://db/prices", True),
        ("postgresql://db:5432/prices?sslmode=require&application_name=presage", True),
        ("postgresql://db,10.1.2.3:5433/prices", True),
        ("postgresql://db,127.0.0.1/prices", False),
        ("postgresql://db/prices?host=169.254.169.254", False),
        ("postgresql://db/prices?hostaddr=127.0.0.1", False),
        ("postgresql://db/prices?service=a", False),
        ("postgresql://db/prices?sslmode=require;host=evil", False),
        ("postgresql:///prices", False),
        ("mysql+pymysql://db/prices", False),
        ("sqlite:////data/market/prices.db", True),
        ("sqlite:///prices.db", False),
        ("sqlite://", False),
        ("sqlite:////data/market/../../etc/a.db", False),
        ("sqlite:////data/market/a.db?mode=rw", False),
        ("sqlite:///file:/etc/a?uri=true", False),
    ],
)
def test_a_database_is_judged_by_all_its_hosts_options_and_files(uri: str, allowed: bool) -> None:
    assert (of_sql(uri) == []) == allowed


def test_a_database_in_a_file_needs_its_scheme_in_the_configuration_too() -> None:
    assert of_sql("sqlite:////data/market/prices.db", DEFAULT) != []
    assert faults(LISTED, clickhouse={"uri": "chdb:///data/market/store", "table": "t"}) == []
    assert faults(LISTED, clickhouse={"uri": "chdb:///var/lib/presage", "table": "t"}) != []


@pytest.mark.parametrize(
    ("s3", "settings", "paths"),
    [
        ({"uri": "s3://bucket/a/*.csv"}, DEFAULT, []),
        ({"uri": "s3://bucket/a", "endpoint": "http://minio.minio.svc:9000"}, DEFAULT, []),
        ({"uri": "s3://bucket/a", "region": "eu-west-1"}, LISTED, []),
        ({"uri": "s3://bucket/a"}, LISTED, ["spec.sources[0].s3.uri"]),
        ({"uri": "s3://bucket/a", "region": "us-east-1"}, LISTED, ["spec.sources[0].s3.region"]),
        ({"uri": "s3://bucket/a", "region": "x.evil.net/"}, DEFAULT, ["spec.sources[0].s3.region"]),
        ({"uri": "s3://bucket/a", "endpoint": "http://169.254.169.254"}, DEFAULT, ["spec.sources[0].s3.endpoint"]),
        ({"uri": "s3://bucket/a", "endpoint": "s3://minio"}, DEFAULT, ["spec.sources[0].s3.endpoint"]),
        ({"uri": "s3://a@b/c"}, DEFAULT, ["spec.sources[0].s3.uri"]),
        ({"uri": "/data/market/a.csv"}, DEFAULT, ["spec.sources[0].s3.uri"]),
        (
            {"uri": "file:///etc/passwd", "endpoint": "http://localhost"},
            DEFAULT,
            ["spec.sources[0].s3.uri", "spec.sources[0].s3.endpoint"],
        ),
    ],
)
def test_a_bucket_is_judged_by_its_name_and_its_store(s3: dict[str, str], settings: Settings, paths: list[str]) -> None:
    found = refused_places(job(sources=[source(s3=s3)]), settings)
    assert [problem.path for problem in found] == paths


def test_an_exchange_is_allowed_only_where_every_host_is() -> None:
    exchange = {"name": "kraken", "symbols": ["BTC/USD"]}
    assert faults(DEFAULT, exchange=exchange) == []
    assert len(faults(LISTED, exchange=exchange)) == 1


def test_brokers_are_judged_one_by_one() -> None:
    assert faults(DEFAULT, kafka={"uri": "kafka://a:9092,b:9092", "topic": "t"}) == []
    assert len(faults(DEFAULT, kafka={"uri": "kafka://a:9092,localhost:9092", "topic": "t"})) == 1
    assert len(faults(DEFAULT, nats={"uri": "nats://127.0.0.1:4222", "stream": "s", "subject": "x"})) == 1


def test_sinks_and_the_engine_are_judged_and_no_sink_is_a_file() -> None:
    sinks = [
        {"name": "a", "sql": {"uri": "postgresql://db/x"}},
        {"name": "b", "sql": {"uri": "postgresql://localhost/x"}},
        {"name": "c", "sql": {"uri": "sqlite:////data/market/x.db"}},
        {"name": "d", "files": {"uri": "s3://bucket/x"}},
        {"name": "e", "files": {"uri": "file:///data/market/x"}},
        {"name": "f", "files": {"uri": "x"}},
        {"name": "g", "files": {"uri": "https://169.254.169.254/x"}},
    ]
    found = refused_places(job(sinks=sinks, engine={"type": "dask", "address": "tcp://scheduler:8786"}), DEFAULT)
    assert [problem.path for problem in found] == [
        "spec.sinks[1].sql.uri",
        "spec.sinks[2].sql.uri",
        "spec.sinks[4].files.uri",
        "spec.sinks[5].files.uri",
        "spec.sinks[6].files.uri",
        "spec.engine.address",
    ]
    listed = refused_places(job(engine={"type": "dask", "address": "tcp://dask.example.com:8786"}), LISTED)
    assert listed == ()


@pytest.mark.parametrize(
    "uri", ["https://169.254.169.254", "http://127.0.0.1:8080", "https://metadata.google.internal", "file:///etc"]
)
def test_the_address_of_an_exchange_is_judged_as_any_other(uri: str) -> None:
    assert len(faults(DEFAULT, exchange={"name": "kraken", "symbols": ["BTC/USD"], "uri": uri})) == 1


def test_an_exchange_may_be_behind_an_address_that_is_allowed() -> None:
    exchange = {"name": "kraken", "symbols": ["BTC/USD"], "uri": "https://kraken.example.com"}
    assert not faults(DEFAULT, exchange=exchange)
