"""What keeps the operator from starting is a sentence, a remedy and an exit code, and no more."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml
from commands import presage

CONFIGURATION = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "a", "user": {}}],
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    "current-context": "a",
}
UNVERIFIED = {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}
NO_CERTIFICATE = {"server": "https://127.0.0.1:1", "certificate-authority-data": "bm8gY2VydGlmaWNhdGU="}


def told(kubeconfig: Path, *words: str, code: int) -> str:
    """Start an operator that cannot, and return all that it says: two lines."""
    ended = presage(
        "operator", *words, code=code, KUBECONFIG=str(kubeconfig), KUBERNETES_SERVICE_HOST="", PRESAGE_SETTINGS=""
    )
    assert len(ended.err.splitlines()) == 2, ended.err
    assert ended.err.startswith("error: ")
    assert ended.out == ""
    return ended.err


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "No configuration found"),
        ("clusters: [", "expected the node content"),
        ("[]", "cannot be read"),
        (yaml.safe_dump(CONFIGURATION | {"current-context": "b"}), "Expected object with name b"),
        (yaml.safe_dump(CONFIGURATION | {"clusters": [{"name": "a", "cluster": UNVERIFIED}]}), "do not verify"),
        (yaml.safe_dump(CONFIGURATION | {"clusters": [{"name": "a", "cluster": NO_CERTIFICATE}]}), "cannot be used"),
    ],
    ids=["missing", "no yaml", "no map", "no such context", "unverified", "no certificate"],
)
def test_credentials_that_cannot_be_used_are_said_to_be_wrong(tmp_path: Path, content: str | None, what: str) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    if content is not None:
        kubeconfig.write_text(content)
    assert what in told(kubeconfig, "--health-port", "0", code=2)


def test_a_port_that_another_has_is_named(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(CONFIGURATION))
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in told(kubeconfig, "--health-port", port, code=7)


def test_a_configuration_that_is_wrong_is_named_before_a_cluster_is_sought(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("lake: {volume: null}")
    said = told(tmp_path / "missing", "--settings", str(settings), code=2)
    assert "lake: one of volume and s3" in said
