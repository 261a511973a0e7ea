"""Secrets by reference: a Secret of the cluster reaches a run as environment variables, and so it is on a laptop."""

from __future__ import annotations

import os
from collections.abc import Mapping

from presage.errors import JobError
from presage.spec.sources import SecretRef


def environment_secret(reference: SecretRef, environment: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Return the keys and values of a secret.

    The variable of key `api_key` of secret `fred` is `FRED_api_key` or `FRED_API_KEY`, or, where the reference names
    the key, also plain `api_key` or `API_KEY`.

    Args:
        reference: The secret; with a key, that one alone.
        environment: Variables; default: those of this process.

    Raises:
        JobError: No variable is set.
    """
    variables = os.environ if environment is None else environment
    prefix = reference.prefix
    if reference.key is None:
        found = {name.removeprefix(prefix): value for name, value in variables.items() if name.startswith(prefix)}
        if found:
            return found
        raise JobError(
            f"secret {reference.name!r}: no environment variable starts with {prefix}.",
            f"Set one for each of its keys, such as {prefix}username.",
        )
    key = reference.key
    for name in (prefix + key, prefix + key.upper(), key, key.upper()):
        if name in variables:
            return {key: variables[name]}
    raise JobError(
        f"secret {reference.name!r}: its key {key!r} is not among the environment variables.",
        f"Set {prefix}{key.upper()}.",
    )


def secret_value(values: Mapping[str, str], reference: SecretRef, key: str) -> str:
    """Return the value of a key, however it is capitalised; raises JobError where the secret lacks it."""
    for name, value in values.items():
        if name.lower() == key.lower():
            return value
    raise JobError(f"secret {reference.name!r}: it has no key {key!r}.", f"Set {reference.prefix}{key.upper()}.")
