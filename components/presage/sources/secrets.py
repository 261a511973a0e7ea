"""Secrets by reference: a Secret of the cluster reaches a run as environment variables, and so it is on a laptop.

No shell sets a variable with a hyphen or a dot in its name, and clusters before Kubernetes 1.32 leave out keys of a
Secret that have one. So an underscore in a variable's name stands for any such sign.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from presage.errors import JobError
from presage.spec.sources import SecretRef


def environment_secret(
    reference: SecretRef, environment: Mapping[str, str] | None = None, *, beside: Iterable[SecretRef] = ()
) -> Mapping[str, str]:
    """Return the keys and values of a secret.

    The variable of key `api_key` or `api-key` of secret `fred` is `FRED_API_KEY`, with the key in any capitals, or,
    where the reference names the key, also plain `api_key` or `API_KEY`.

    Args:
        reference: The secret; with a key, that one alone.
        environment: Variables; default: those of this process.
        beside: The job's secrets: a variable of `my-broker`, such as MY_BROKER_KEY, is none of secret `my`.

    Returns:
        By key: the name that the reference gives, else the rest of the variable's.

    Raises:
        JobError: No variable is set.
    """
    prefix = reference.prefix
    variables = os.environ if environment is None else environment
    if reference.key is None:
        others = tuple(other.prefix for other in beside if other.prefix != prefix and other.prefix.startswith(prefix))
        found = {
            name.removeprefix(prefix): value
            for name, value in variables.items()
            if name.startswith(prefix) and not name.startswith(others)
        }
        if found:
            return found
        raise JobError(
            f"secret {reference.name!r}: no environment variable starts with {prefix}.",
            f"Set one for each of its keys, such as {prefix}username.",
        )
    key, plain = reference.key, _plain(reference.key)
    own = (name for name in variables if name.startswith(prefix) and same_key(name.removeprefix(prefix), key))
    for name in (prefix + key, *own, key, key.upper(), plain, plain.upper()):
        if name in variables:
            return {key: variables[name]}
    raise JobError(
        f"secret {reference.name!r}: its key {key!r} is not among the environment variables.",
        f"Set {variable_of(reference, key)}.",
    )


def secret_value(values: Mapping[str, str], reference: SecretRef, key: str) -> str:
    """Return the value of a key, however it is capitalised; raises JobError where the secret lacks it."""
    for name, value in values.items():
        if same_key(name, key):
            return value
    raise JobError(f"secret {reference.name!r}: it has no key {key!r}.", f"Set {variable_of(reference, key)}.")


def same_key(one: str, other: str) -> bool:
    """Return whether two names are of one key: however they are capitalised, and `_` as any sign."""
    return _plain(one).lower() == _plain(other).lower()


def variable_of(reference: SecretRef, key: str) -> str:
    """Return the variable to set for a key, such as BROKER_X_API_KEY for `X-Api-Key` of secret `broker`."""
    return reference.prefix + _plain(key).upper()


def _plain(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", key)
