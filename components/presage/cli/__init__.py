"""The `presage` command: data on stdout, progress and logs on stderr, documented exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from presage.cli.signals import signals_stop_at_once

__all__ = ["main"]


def main() -> None:
    """Run the command line; the commands are imported only once a signal can end the process quietly."""
    signals_stop_at_once()
    _open_closed_streams()
    from presage.cli.app import app  # noqa: PLC0415  # its imports take longer than a finger on Ctrl-C
    from presage.cli.faults import output_faults_end_the_command  # noqa: PLC0415  # as above

    with output_faults_end_the_command():
        app()


def _open_closed_streams() -> None:
    """Lead closed standard streams to nowhere, lest the next file that is opened takes their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # open to the end
