"""The `kubectl presage` plug-in: the command `kubectl-presage`, which kubectl finds on the PATH."""

from __future__ import annotations

import sys

from presage.cli.signals import signals_stop_at_once

__all__ = ["main"]

_MISSING = 2


def main() -> None:
    """Run the command line; its parts are imported only once a signal can end the process quietly."""
    signals_stop_at_once()
    try:
        from presage_operator.kubectl.app import app  # noqa: PLC0415  # its imports take longer than Ctrl-C
    except ModuleNotFoundError as error:
        if str(error.name).startswith("presage"):
            raise
        sys.stderr.write(
            f"error: this command needs the Python package {error.name}, which is not installed.\n"
            "Install what speaks to a cluster: pip install 'presage[operator]'.\n"
        )
        raise SystemExit(_MISSING) from error
    from presage.cli.faults import output_faults_end_the_command  # noqa: PLC0415  # as above

    with output_faults_end_the_command():
        app()
