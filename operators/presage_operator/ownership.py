"""Whose an object is: read from what the API server answers, before anything is written over it."""

from __future__ import annotations

from presage_operator.errors import JsonObject
from presage_operator.names import FIELD_MANAGER, JOB_LABEL, MANAGED_BY, Key


def uid_of(content: JsonObject) -> str:
    """Return an object's UID."""
    return str(_metadata(content).get("uid", ""))


def owner_of(content: JsonObject) -> str:
    """Return the UID of an object's controller; empty where it has none."""
    owners = _metadata(content).get("ownerReferences")
    found = [one for one in owners if isinstance(one, dict)] if isinstance(owners, list) else []
    return next((str(one.get("uid")) for one in found if one.get("controller") is True), "")


def is_child_of(content: JsonObject, key: Key) -> bool:
    """Return whether an operator made an object for a job of this name, the present one or one that is gone."""
    labels = _metadata(content).get("labels")
    return isinstance(labels, dict) and labels.get(JOB_LABEL) == key.name and labels.get(MANAGED_BY) == FIELD_MANAGER


def is_leaving(content: JsonObject) -> bool:
    """Return whether an object is being deleted."""
    return "deletionTimestamp" in _metadata(content)


def replicas_that_only_the_operator_set(content: JsonObject) -> int | None:
    """Return a Deployment's number of Pods where the operator alone has set it; None where an autoscaler has too.

    The server takes away a field that its only owner stops naming, and would fall back to one Pod.
    """
    spec, managers = content.get("spec"), _metadata(content).get("managedFields")
    replicas = spec.get("replicas") if isinstance(spec, dict) else None
    owners = {
        str(one.get("manager"))
        for one in (managers if isinstance(managers, list) else [])
        if isinstance(one, dict) and _sets_replicas(one)
    }
    return replicas if isinstance(replicas, int) and owners == {FIELD_MANAGER} else None


def _sets_replicas(entry: JsonObject) -> bool:
    fields = entry.get("fieldsV1")
    spec = fields.get("f:spec") if isinstance(fields, dict) else None
    return isinstance(spec, dict) and "f:replicas" in spec


def _metadata(content: JsonObject) -> JsonObject:
    head = content.get("metadata")
    return head if isinstance(head, dict) else {}
