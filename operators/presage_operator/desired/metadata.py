"""The head of every child: names, labels, annotations, owner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from presage.spec.job import API_VERSION, KIND, PredictionJob
from presage_operator.errors import JsonObject
from presage_operator.names import DESIRED


def metadata(
    job: PredictionJob,
    name: str,
    *,
    uid: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    owned: bool = True,
) -> JsonObject:
    """Return the metadata of a child in the job's namespace; where it is owned, it goes when the job goes."""
    content: JsonObject = {"name": name, "namespace": job.metadata.namespace, "labels": {**labels}}
    if annotations:
        content["annotations"] = {**annotations}
    if owned:
        content["ownerReferences"] = [_owner(job, uid)]
    return content


def marked(objects: Sequence[JsonObject]) -> tuple[JsonObject, ...]:
    """Return objects that each carry the digest of them all: where it is the same, there is nothing to apply."""
    text = json.dumps(list(objects), sort_keys=True, separators=(",", ":"))
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return tuple(_annotated(each, {DESIRED: digest}) for each in objects)


def digest_of(objects: Sequence[JsonObject]) -> str:
    """Return the digest that marked objects carry."""
    head = objects[0]["metadata"]
    annotations = head["annotations"] if isinstance(head, dict) else None
    digest = annotations[DESIRED] if isinstance(annotations, dict) else None
    return str(digest)


def _owner(job: PredictionJob, uid: str) -> JsonObject:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.metadata.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _annotated(content: JsonObject, annotations: Mapping[str, str]) -> JsonObject:
    head = content["metadata"]
    if not isinstance(head, dict):
        raise TypeError("metadata is a mapping")
    present = head.get("annotations")
    merged: JsonObject = {**(present if isinstance(present, dict) else {}), **annotations}
    return {**content, "metadata": {**head, "annotations": merged}}
