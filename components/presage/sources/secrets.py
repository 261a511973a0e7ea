"""Secrets by reference: a Secret of the cluster reaches a run as environment variables, and so it is on a laptop.

A pipeline does not know the keys of a Secret: there it is mounted, as files in a directory of its name below the one
that PRESAGE_SECRETS_DIR names.

No shell sets a variable with a hyphen or a dot in its name, and clusters before Kubernetes 1.32 leave out keys of a
Secret that have one. So an underscore in a variable's name stands for any such sign.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from presage.errors import JobError
from presage.spec.sources import SecretRef

SECRETS_DIRECTORY = "PRESAGE_SECRETS_DIR"


def environment_secret(
    reference: SecretRef, environment: Mapping[str, str] | None = None, *, beside: Iterable[SecretRef] = ()
) -> Mapping[str, str]:
    """Return the keys and values of a secret.

    The variable of key `api_key` or `api-key` of secret `fred` is `FRED_API_KEY`, with the key in any capitals, or,
    where the reference names the key, also plain `api_key` or `API_KEY`. Where PRESAGE_SECRETS_DIR names a directory
    with one of the secret's name, that one's files are the keys, and no variable counts.

    Args:
        reference: The secret; with a key, that one alone.
        environment: Variables; default: those of this process.
        beside: The job's secrets: a variable of `my-broker`, such as MY_BROKER_KEY, is none of secret `my`.

    Returns:
        By key: the name that the reference gives, else the rest of the variable's.

    Raises:
        JobError: No variable is set, or no file is there.
    """
    prefix = reference.prefix
    variables = os.environ if environment is None else environment
    mounted = variables.get(SECRETS_DIRECTORY)
    # A name that leads elsewhere is none of a Secret.
    if mounted and reference.name not in {".", ".."} and "/" not in reference.name:
        directory = Path(mounted) / reference.name
        if directory.is_dir():
            return _mounted_secret(reference, directory)
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


def _mounted_secret(reference: SecretRef, directory: Path) -> Mapping[str, str]:
    # What Kubernetes hides beside the keys of a mounted Secret starts with two full stops.
    files = sorted(path for path in directory.iterdir() if not path.name.startswith("..") and path.is_file())
    if reference.key is None:
        if files:
            return {path.name: _content(reference, path) for path in files}
        raise JobError(f"secret {reference.name!r}: {directory} holds no key.", "Give the Secret its keys.")
    key = reference.key
    for path in sorted(files, key=lambda path: path.name != key):
        if same_key(path.name, key):
            return {key: _content(reference, path)}
    raise JobError(
        f"secret {reference.name!r}: its key {key!r} is not among those of {directory}.",
        f"Give the Secret a key {key}.",
    )


def _content(reference: SecretRef, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        # The decoder's error holds what it read.
        raise JobError(f"secret {reference.name!r}: {path} cannot be read: {why}.", "Mend the Secret.") from None


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
