"""Who the operator is to the API server, and how it reaches it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from presage.errors import JobError

if TYPE_CHECKING:
    import kopf

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server; its certificate is always verified.

    Attributes:
        server: Its address.
        tls: Whom to trust, and the client's certificate if it has one.
        authorization: Value of that header; empty where the certificate says who we are.
        token_file: File of a bearer token, which takes the header's place and is read again as it is renewed.
        proxy: Address of an HTTP proxy.
    """

    server: str
    tls: ssl.SSLContext = field(repr=False)
    authorization: str = field(default="", repr=False)
    token_file: Path | None = None
    proxy: str | None = None


def from_connection(info: kopf.ConnectionInfo) -> Credentials:
    """Return the credentials that kopf logged in with.

    Raises:
        JobError: They say not to verify the server's certificate.
    """
    if info.insecure:
        raise JobError(
            f"the credentials for {info.server} do not verify its certificate.", "Give its certificate authority."
        )
    authorization = info.as_http_headers().get("Authorization", "")
    return Credentials(info.server, info.as_ssl_context(), authorization, proxy=info.proxy_url)


def from_service_account(
    folder: Path = SERVICE_ACCOUNT, environment: Mapping[str, str] = os.environ
) -> Credentials | None:
    """Return the credentials of the Pod that this runs in; None outside of a Pod."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    token, authority = folder / "token", folder / "ca.crt"
    if not host or not token.is_file():
        return None
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Credentials(server, ssl.create_default_context(cafile=authority), token_file=token)
