"""A job as text on its way to where it runs: an annotation of a Pod, or a parameter of a pipeline."""

from __future__ import annotations

import json
import re

from presage.spec.job import PredictionJob

# What YAML takes for a line break or for no text at all, and JSON does not. And what others put something else for:
# Kubernetes variables, secret ones too, for a $(NAME) of a container's arguments, and Argo its own for a {{name}}.
_READ_OTHERWISE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]|\\$(?=\\()|\\{(?=\\{)")


def job_text(job: PredictionJob) -> str:
    """Return a job as compact JSON, which its loader reads to the same digests; it holds no secret, only references.

    What was left out stays left out; of the metadata only name and namespace are kept. Nothing on its way takes a part
    of it for a variable's name.
    """
    head = {"name": job.metadata.name, "namespace": job.metadata.namespace}
    spec = job.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    content = {"apiVersion": job.api_version, "kind": job.kind, "metadata": head, "spec": spec}
    # Its loader reads YAML, which knows no pair of \u for one character.
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # All of these stand within a JSON text's strings only.
    return _READ_OTHERWISE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
