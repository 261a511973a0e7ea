"""Answers of an exchange: read within bounds of size and time, and what they say beside their content.

The module needs what ccxt brings and the standard library alone, because the cloud function carries it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 60
_BYTES = 64 * 2**20
_PIECE = 2**16


class BadAnswerError(Exception):
    """An answer that is cut off, too large, too slow, elsewhere or no JSON."""


@dataclass
class Answers:
    """What the last answer said beside its content.

    Attributes:
        seconds: Seconds that only grow; they bound how long an answer may take.
        status: Of HTTP; 0 without an answer.
        wait: Seconds that it asked to wait; 0 where it did not.
        clock: What the exchange's clock said, milliseconds since 1970 UTC; None where it said nothing.
    """

    seconds: Callable[[], float]
    status: int = 0
    wait: float = 0.0
    clock: int | None = None

    def forget(self) -> None:
        """Start anew, before a request that may get no answer."""
        self.status, self.wait, self.clock = 0, 0.0, None

    def receive(self, response: Any, **_: object) -> None:  # noqa: ANN401  # the library is not typed
        """Take an answer of `requests`, as a hook of its session: note what it says, and read its content.

        Raises:
            BadAnswerError: It is not a whole JSON document from the address that was asked.
        """
        self.status = response.status_code
        self.wait = _wait(response.headers.get("Retry-After", ""))
        self.clock = _clock(response.headers.get("Date", ""))
        if response.is_redirect:
            to = urlsplit(response.headers["Location"]).netloc
            response.raw.close()
            raise BadAnswerError(f"it leads to {to or 'another path'}, which is not followed")
        content = self._content(response)
        response.raw = io.BytesIO(content)
        if response.ok and not _is_document(content):
            raise BadAnswerError(f"the answer of {len(content)} bytes is cut off or no JSON")

    def _content(self, response: Any) -> bytes:  # noqa: ANN401  # as above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415  # comes with the extra

        start = self.seconds()
        content = bytearray()
        try:
            while piece := response.raw.read1(_PIECE, decode_content=True):
                content += piece
                if len(content) > _BYTES:
                    raise BadAnswerError(f"the answer is longer than {_BYTES // 2**20} MiB")
                if self.seconds() - start > _SECONDS:
                    raise BadAnswerError(f"the answer takes longer than {_SECONDS} seconds")
        except (HTTPError, OSError) as error:
            raise BadAnswerError(f"the answer is cut off after {len(content)} bytes") from error
        finally:
            response.raw.close()
        return bytes(content)


def _is_document(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), list | dict)
    except (ValueError, RecursionError):
        return False


def _wait(header: str) -> float:
    return float(header) if header.isdecimal() else 0.0


def _clock(header: str) -> int | None:
    try:
        return int(parsedate_to_datetime(header).timestamp() * 1000)
    except ValueError:
        return None
