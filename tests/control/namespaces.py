"""Namespaces, one a test: what other tests leave is none of it."""

from __future__ import annotations

import secrets

from presage_operator.client import ApiClient, Resource

NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps")


async def new_namespace(client: ApiClient, **labels: str) -> str:
    """Make a namespace and return its name."""
    name = f"test-{secrets.token_hex(4)}"
    await client.create(NAMESPACES, None, {"metadata": {"name": name, "labels": {**labels}}})
    return name
