"""What the API server's refusals mean; each says, as every error of Presage does, whether to retry or to stop.

ApiError
├── retry: UnreachableError   no answer, or half of one
│          ServerFaultError   5xx
│          TooManyRequestsError  429
│          ConflictError      409: another wrote first; read again, then decide again
│          GoneError          410: the version asked for is no longer held; list again
└── stop:  UnauthorizedError  401
           ForbiddenError     403
           NotFoundError      404
           AlreadyExistsError 409 of a create
           InvalidError       400, 422 and other 4xx: the request itself is wrong
"""

from __future__ import annotations

import json
from typing import ClassVar

from pydantic import JsonValue

from presage.errors import PresageError, RetryError, StopError

JsonObject = dict[str, JsonValue]


class ApiError(PresageError):
    """The API server did not do what was asked.

    Attributes:
        code: HTTP status; 0 where there was no answer.
        retry_after: Seconds that the server asks to wait; None where it does not say.
    """

    def __init__(self, what: str, remedy: str = "", *, code: int = 0, retry_after: float | None = None) -> None:
        super().__init__(what, remedy)
        self.code = code
        self.retry_after = retry_after


class UnreachableError(ApiError, RetryError):
    """There was no answer, or half of one; whether the request was carried out is not known."""


class ServerFaultError(ApiError, RetryError):
    """The server failed at it."""


class TooManyRequestsError(ApiError, RetryError):
    """The server is busy."""


class ConflictError(ApiError, RetryError):
    """Another wrote first: what the request rests on is stale."""


class GoneError(ApiError, RetryError):
    """The server does not hold the version that was asked for."""


class UnauthorizedError(ApiError, StopError):
    """The credentials are not accepted."""


class ForbiddenError(ApiError, StopError):
    """The credentials do not allow it, or an admission rule refuses it."""


class NotFoundError(ApiError, StopError):
    """There is no such object or kind."""


class AlreadyExistsError(ApiError, StopError):
    """An object of that name is there."""


class InvalidError(ApiError, StopError):
    """The request itself is wrong."""


class HinderedError(RetryError):
    """Something in the cluster keeps a job's children from being made; the job's status says what."""

    reason: ClassVar[str]


class NameTakenError(HinderedError):
    """An object that is not the job's has a name that its child needs."""

    reason = "NameTaken"


class StillLeavingError(HinderedError):
    """An object of a job of the same name, which is gone, is still on its way out."""

    reason = "StillLeaving"


class ContestedError(HinderedError):
    """Somebody writes the same objects over and over."""

    reason = "Contested"


class UnsettledError(HinderedError):
    """What was done is not seen to be done."""

    reason = "Unsettled"


_BY_CODE: dict[int, tuple[type[ApiError], str]] = {
    401: (UnauthorizedError, "Check the credentials of the operator."),
    403: (ForbiddenError, "Grant what the message names to the operator, or change what refuses it."),
    404: (NotFoundError, ""),
    409: (ConflictError, ""),
    410: (GoneError, ""),
    429: (TooManyRequestsError, ""),
}


def answered_error(request: str, code: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """Return the error that an answer stands for.

    Args:
        request: Method and path.
        code: HTTP status, 400 or above.
        body: A Kubernetes Status, or what a proxy between wrote.
        retry_after: The header of that name; dates are not read.
    """
    status = _status(body)
    message = str(status.get("message") or body[:200].decode(errors="replace").strip() or "no reason given")
    kind, remedy = _BY_CODE.get(code, (ServerFaultError if code >= 500 else InvalidError, ""))
    if code == 409 and status.get("reason") == "AlreadyExists":
        kind = AlreadyExistsError
    waits = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return kind(f"{request}: {code}: {message.rstrip('.')}.", remedy, code=code, retry_after=waits)


def watched_error(request: str, status: JsonObject) -> ApiError:
    """Return the error that an ERROR event of a watch stands for; its object is a Kubernetes Status."""
    code = status.get("code")
    return answered_error(request, code if isinstance(code, int) else 500, json.dumps(status).encode())


def _status(body: bytes) -> JsonObject:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
