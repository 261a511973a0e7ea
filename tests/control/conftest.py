"""The API server that the tests of this folder share."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from conftest import lacking
from control.apiserver import ControlPlane, ControlPlaneError, control_plane, control_plane_binary
from kubernetes import client

from presage.spec.crd import custom_resource_definition


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A running etcd and kube-apiserver."""
    try:
        control_plane_binary()
    except ControlPlaneError as error:
        lacking(str(error))
    with control_plane() as running:
        yield running


@pytest.fixture(scope="session")
def api(plane: ControlPlane) -> Iterator[client.ApiClient]:
    """A client of that server, in the official library."""
    configuration = client.Configuration()
    configuration.host = plane.url
    configuration.ssl_ca_cert = str(plane.certificate)
    configuration.api_key = {"authorization": f"Bearer {plane.token}"}
    with client.ApiClient(configuration) as connected:
        yield connected


@pytest.fixture(scope="session")
def definition(api: client.ApiClient) -> client.V1CustomResourceDefinition:
    """The CustomResourceDefinition as the server holds it once it is established."""
    definitions = client.ApiextensionsV1Api(api)
    made = custom_resource_definition()
    name = made["metadata"]["name"]
    definitions.create_custom_resource_definition(made, field_validation="Strict")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        held = definitions.read_custom_resource_definition(name)
        conditions = {condition.type: condition.status for condition in held.status.conditions or ()}
        if conditions.get("Established") == "True":
            return held
        time.sleep(0.05)
    pytest.fail(f"not established: {conditions}")


@pytest.fixture
def jobs(api: client.ApiClient, definition: client.V1CustomResourceDefinition) -> client.CustomObjectsApi:
    """The server's custom objects, PredictionJob among them."""
    return client.CustomObjectsApi(api)
