"""Secrets by reference: which variables of an environment are a secret's keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from presage.errors import JobError
from presage.sources.secrets import environment_secret, same_key, secret_value
from presage.spec.sources import SecretRef

BROKER = SecretRef(name="my-broker")


def named(key: str) -> SecretRef:
    return SecretRef(name="my-broker", key=key)


def test_all_variables_with_the_secret_s_prefix_are_its_keys() -> None:
    variables = {"MY_BROKER_username": "u", "MY_BROKER_X-Api-Key": "k", "OTHER_KEY": "o"}
    assert environment_secret(BROKER, variables) == {"username": "u", "X-Api-Key": "k"}


def test_a_secret_without_a_variable_is_refused_with_the_prefix_to_use() -> None:
    with pytest.raises(JobError, match="no environment variable starts with MY_BROKER_") as raised:
        environment_secret(BROKER, {"OTHER_KEY": "o"})
    assert "MY_BROKER_username" in raised.value.remedy


@pytest.mark.parametrize(
    "variable",
    ["MY_BROKER_X-Api-Key", "MY_BROKER_X_API_KEY", "MY_BROKER_X_Api_Key", "MY_BROKER_x_api_key", "X_API_KEY"],
)
def test_a_key_with_hyphens_is_found_under_names_that_a_shell_can_set(variable: str) -> None:
    assert environment_secret(named("X-Api-Key"), {"MY_BROKER_OTHER": "o", variable: "k"}) == {"X-Api-Key": "k"}


def test_of_several_variables_the_one_of_the_very_key_counts() -> None:
    variables = {"API_KEY": "3", "MY_BROKER_API_KEY": "2", "MY_BROKER_api_key": "1"}
    assert environment_secret(named("api_key"), variables) == {"api_key": "1"}
    assert environment_secret(named("api_key"), {name: variables[name] for name in list(variables)[:2]}) == {
        "api_key": "2"
    }


def test_a_missing_key_is_refused_with_a_variable_that_a_shell_can_set() -> None:
    with pytest.raises(JobError, match="its key 'X-Api-Key' is not among") as raised:
        environment_secret(named("X-Api-Key"), {"MY_BROKER_X_OTHER": "o"})
    assert raised.value.remedy == "Set MY_BROKER_X_API_KEY."
    with pytest.raises(JobError, match=r"it has no key 'tls\.crt'") as raised:
        secret_value({"tls": "o"}, BROKER, "tls.crt")
    assert raised.value.remedy == "Set MY_BROKER_TLS_CRT."


def test_a_value_is_found_however_its_key_is_written() -> None:
    assert secret_value({"TLS_CRT": "c"}, BROKER, "tls.crt") == "c"
    assert same_key("X-Api-Key", "x_API_key")
    assert not same_key("X-Api-Key", "XApiKey")


def test_a_variable_of_another_secret_of_the_job_is_no_key_of_one_with_a_shorter_name():
    variables = {"MY_KEY": "1", "MY_BROKER_X_API_KEY": "2"}
    mine = SecretRef(name="my")
    assert environment_secret(mine, variables, beside=(mine, BROKER)) == {"KEY": "1"}
    assert environment_secret(BROKER, variables, beside=(mine, BROKER)) == {"X_API_KEY": "2"}
    with pytest.raises(JobError, match="no environment variable starts with MY_"):
        environment_secret(mine, {"MY_BROKER_X_API_KEY": "2"}, beside=(BROKER,))


def test_a_key_that_is_named_is_found_whatever_other_secrets_are_called():
    reference = SecretRef(name="my", key="broker_key")
    assert environment_secret(reference, {"MY_BROKER_KEY": "1"}, beside=(BROKER,)) == {"broker_key": "1"}


@pytest.fixture
def mounted(tmp_path: Path) -> dict[str, str]:
    """Variables that lead to Secrets as the kubelet mounts them: links to files beside which it keeps its own."""
    hidden = tmp_path / "my-broker" / "..2026"
    hidden.mkdir(parents=True)
    (hidden.parent / "..data").symlink_to(hidden.name)
    for key, value in {"X-Api-Key": "k\n", "username": "u"}.items():
        (hidden / key).write_text(value)
        (hidden.parent / key).symlink_to(f"..data/{key}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "key").write_bytes(b"\xff secret")
    return {"PRESAGE_SECRETS_DIR": str(tmp_path), "MY_BROKER_X_API_KEY": "another", "FRED_KEY": "f"}


def test_the_files_of_a_mounted_secret_are_its_keys_and_no_variable_counts(mounted: dict[str, str]) -> None:
    assert environment_secret(BROKER, mounted) == {"X-Api-Key": "k\n", "username": "u"}
    assert environment_secret(named("x_api_key"), mounted) == {"x_api_key": "k\n"}
    assert environment_secret(named("X-Api-Key"), mounted) == {"X-Api-Key": "k\n"}
    with pytest.raises(JobError, match=r"its key 'password' is not among those of .*my-broker"):
        environment_secret(named("password"), mounted)


def test_a_secret_that_is_not_mounted_is_looked_for_among_variables(mounted: dict[str, str]) -> None:
    assert environment_secret(SecretRef(name="fred"), mounted) == {"KEY": "f"}


def test_a_name_that_leads_elsewhere_is_no_mounted_secret(mounted: dict[str, str], tmp_path: Path) -> None:
    inner = mounted | {"PRESAGE_SECRETS_DIR": str(tmp_path / "empty")}
    for name in ("..", ".", "../my-broker", str(tmp_path / "my-broker")):
        with pytest.raises(JobError, match="no environment variable starts with"):
            environment_secret(SecretRef(name=name), inner)


def test_a_mounted_secret_without_a_key_and_one_that_is_no_text_are_refused(mounted: dict[str, str]) -> None:
    with pytest.raises(JobError, match="holds no key"):
        environment_secret(SecretRef(name="empty"), mounted)
    with pytest.raises(JobError, match="it is no text in UTF-8") as raised:
        environment_secret(SecretRef(name="odd"), mounted)
    assert "secret'" not in str(raised.value).replace("secret 'odd'", "")
    assert raised.value.__suppress_context__
