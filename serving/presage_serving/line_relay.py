"""Alertmanager's webhook as messages of LINE's Messaging API, which Alertmanager does not speak.

The webhook: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, version 4. The message:
https://developers.line.biz/en/reference/messaging-api/#send-push-message.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from presage_serving.refusal import Refusal, malformed

API = "https://api.line.me"
_PUSH = "/v2/bot/message/push"
TOKEN_FILE, RECIPIENT_FILE = "channel-access-token", "to"
MOST_MESSAGES = 5
MOST_CHARACTERS = 5_000
"""LINE's bounds of one push; it counts UTF-16 code units."""

_SECONDS = 10
# An attempt of the same moment is the same message; what is told again later is another.
_SAME_SECONDS = 300


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True)


class Alert(_Payload):
    """One alert of a notification."""

    status: Literal["firing", "resolved"]
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}

    @property
    def text(self) -> str:
        """What a reader of a chat needs of it."""
        severity = f" ({self.labels['severity']})" if "severity" in self.labels else ""
        head = f"{self.status.upper()}{severity}: {self.labels.get('alertname', 'an alert without a name')}"
        told = (self.annotations.get(name, "") for name in ("summary", "description", "runbook_url"))
        return "\n".join([head, *filter(None, told)])


class Notification(_Payload):
    """What Alertmanager sends: the alerts of one group."""

    version: Literal["4"]
    group_key: str = Field("", alias="groupKey")
    truncated: int = Field(0, alias="truncatedAlerts", ge=0)
    alerts: tuple[Alert, ...]


@dataclass(frozen=True)
class Push:
    """A request to LINE.

    Attributes:
        texts: Messages, one bubble each.
        key: Of the same notification always the same, so that LINE takes it once.
    """

    texts: tuple[str, ...]
    key: str

    def body(self, recipient: str) -> bytes:
        """Return the request's JSON."""
        messages = [{"type": "text", "text": text} for text in self.texts]
        return json.dumps({"to": recipient, "messages": messages}, ensure_ascii=False).encode()


def read_notification(body: bytes) -> Notification:
    """Return what a body says; raises Refusal where it is no notification of Alertmanager."""
    try:
        return Notification.model_validate_json(body)
    except ValidationError as error:
        raise malformed(error, "Send what Alertmanager sends to a webhook.") from error


def push_of(notification: Notification, now: float) -> Push | None:
    """Return what LINE is sent of a notification; None where it holds no alert.

    Args:
        notification: What Alertmanager said.
        now: Seconds since 1970.
    """
    if not notification.alerts:
        return None
    texts = tuple(_packed([alert.text for alert in notification.alerts], notification.truncated))
    said = repr((notification.group_key, texts, int(now // _SAME_SECONDS))).encode()
    return Push(texts, str(uuid.UUID(bytes=hashlib.sha256(said).digest()[:16], version=4)))


def _packed(texts: Sequence[str], more: int) -> Iterator[str]:
    """Give messages within LINE's bounds: alerts share one where they fit; what has no room is counted."""
    room = MOST_CHARACTERS - 50
    packs: list[str] = []
    for place, text in enumerate(texts):
        cut = _cut(text, room)
        if packs and _units(packs[-1]) + 2 + _units(cut) <= room:
            packs[-1] += f"\n\n{cut}"
        elif len(packs) < MOST_MESSAGES:
            packs.append(cut)
        else:
            more += len(texts) - place
            break
    if more:
        packs[-1] += f"\n\nand {more} more alert{'s' if more > 1 else ''}"
    yield from packs


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _cut(text: str, units: int) -> str:
    if _units(text) <= units:
        return text
    return text.encode("utf-16-le")[: 2 * (units - 1)].decode("utf-16-le", errors="ignore") + "…"


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nowhere: the token is LINE's alone."""


class Line:
    """LINE's API, as one channel.

    Args:
        credentials: Folder with the files `channel-access-token` and `to`; read at each push, so that both may change.
        address: Of the API.
    """

    def __init__(self, credentials: Path, address: str = API) -> None:
        self._credentials = credentials
        self._address = address
        self._opener = build_opener(_NoRedirects)

    def send(self, push: Push) -> None:
        """Send a push once.

        Raises:
            Refusal: LINE did not take it; with a status of 5xx, which lets Alertmanager try again, where that may help.
        """
        headers = {
            "Authorization": f"Bearer {self._credential(TOKEN_FILE)}",
            "Content-Type": "application/json",
            "X-Line-Retry-Key": push.key,
        }
        body = push.body(self._credential(RECIPIENT_FILE))
        request = Request(self._address + _PUSH, body, headers)  # noqa: S310  # the address is https or a test's
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                answer.read(65_536)
        except HTTPError as error:
            with error:
                _judge(error.code)
        except (URLError, OSError, http.client.HTTPException) as error:
            raise Refusal(502, f"LINE does not answer: {type(error).__name__}.") from error

    def _credential(self, name: str) -> str:
        try:
            value = (self._credentials / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(503, f"The file {name} of the credentials cannot be read.") from error
        if not value or not value.isprintable():
            raise Refusal(503, f"The file {name} of the credentials is not one line of text.")
        return value


def _judge(status: int) -> None:
    # 409: a push with this key was taken before.
    if status == http.client.CONFLICT:
        return
    if status == http.client.TOO_MANY_REQUESTS:
        raise Refusal(503, "LINE takes no more messages at present: its rate or the month's quota is reached.")
    if status >= 500:
        raise Refusal(502, f"LINE answers with status {status}.")
    raise Refusal(
        400, f"LINE refuses the message with status {status}: check the token and the recipient of the credentials."
    )
