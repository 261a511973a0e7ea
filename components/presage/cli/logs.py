"""Structured logs on stderr: one line an event, as key=value pairs."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

LEVEL = "PRESAGE_LOG_LEVEL"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class KeyValueFormatter(logging.Formatter):
    """Formats a record as time, level, event and the event's own fields; text with spaces is quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        fields = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return " ".join(f"{name}={_text(value)}" for name, value in fields.items())


def set_up_logs(*packages: str) -> None:
    """Send Presage's events to stderr: from INFO, or on a terminal, where a bar shows progress, from WARNING.

    The environment variable PRESAGE_LOG_LEVEL names another level.

    Args:
        packages: Whose events; default: those of `presage` alone.
    """
    usual = "WARNING" if sys.stderr.isatty() else "INFO"
    level = os.environ.get(LEVEL, usual).upper()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    for package in packages or ("presage",):
        logger = logging.getLogger(package)
        logger.handlers = [handler]
        logger.setLevel(level if level in logging.getLevelNamesMapping() else usual)
        logger.propagate = False


def _text(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(character in text for character in ' "=\n\t') else text
