"""How S3 stores are asked, AWS's and others."""

from __future__ import annotations

import os
from typing import Any

_CONNECT_SECONDS = 5


def client_config(*, read_seconds: int, attempts: int, endpoint: str | None = None) -> Any:  # noqa: ANN401  # untyped
    """Return the AWS library's configuration for the store at an endpoint, None for that of the environment."""
    from botocore.config import Config  # noqa: PLC0415  # an extra

    elsewhere = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        # Stores other than AWS have one host name, and not all of them know its newer checksums.
        s3={"addressing_style": "path" if elsewhere else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
