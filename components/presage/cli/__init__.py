"""The `presage` command: data on stdout, progress and logs on stderr, documented exit codes."""

from presage.cli.app import main

__all__ = ["main"]
