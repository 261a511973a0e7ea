"""What the Pods of runs and of servers have in common: the restricted security profile, a scratch directory, images."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from presage_operator.errors import JsonObject
from presage_operator.settings import Settings

USER = 65532
_SCRATCH = "/tmp"  # noqa: S108  # an empty volume of the Pod's own


def pod_settings(settings: Settings) -> JsonObject:
    """Return the fields of every Pod: no token, no rights, no variables of the namespace's Services."""
    fields: JsonObject = {
        "serviceAccountName": settings.service_account_name,
        "automountServiceAccountToken": False,
        # A Service named `presage` would set PRESAGE_PORT, which is an option of the server.
        "enableServiceLinks": False,
    }
    if settings.images.pull_secrets:
        fields["imagePullSecrets"] = [{"name": name} for name in settings.images.pull_secrets]
    return fields


def pod_security() -> JsonObject:
    """Return the security context of a Pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        # A lake of many files is not walked at every start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> JsonObject:
    """Return the security context of a container; it is enough for the restricted profile by itself."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def environment(values: Mapping[str, str]) -> list[JsonValue]:
    """Return variables as a container lists them."""
    return [{"name": name, "value": value} for name, value in values.items()]


def scratch_volume() -> JsonObject:
    """Return the one writable place beside the lake."""
    return {"name": "scratch", "emptyDir": {}}


def scratch_mount() -> JsonObject:
    """Return where a container finds it; it is the home directory too."""
    return {"name": "scratch", "mountPath": _SCRATCH}


def base_environment() -> dict[str, str]:
    """Return the variables of every container."""
    return {"HOME": _SCRATCH, "PRESAGE_LOG_LEVEL": "INFO"}
