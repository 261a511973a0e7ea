"""The commands `presage price-exporter` and `presage alert-relay`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from presage.cli.faults import faults_end_the_command
from presage.errors import MissingExtraError
from presage.spec.base import parse_duration


def price_exporter(
    *,
    exchange: Annotated[str, typer.Option("--exchange", help="The exchange, by ccxt's id.", show_default=False)],
    symbol: Annotated[
        list[str], typer.Option("--symbol", help="A market, such as BTC/USDT; may be repeated.", show_default=False)
    ],
    interval: Annotated[str, typer.Option("--interval", help="How often each price is asked for.")] = "15s",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "0.0.0.0",  # noqa: S104  # a container's
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any that is free.")] = 9095,
    uri: Annotated[str | None, typer.Option("--uri", help="Address in place of the exchange's own.")] = None,
) -> None:
    """Export an exchange's live prices to Prometheus."""
    try:
        seconds = parse_duration(interval).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--interval") from error
    if seconds <= 0:
        raise typer.BadParameter("it is longer than nothing", param_hint="--interval")
    with faults_end_the_command(), _needing("metrics", "exchange"):
        from presage_serving.exporter_process import run_exporter  # noqa: PLC0415  # an extra brings what it needs

        symbols = tuple(dict.fromkeys(symbol))
        run_exporter(exchange, symbols, interval=seconds, host=host, port=port, uri=uri)


def alert_relay(
    credentials: Annotated[
        Path,
        typer.Option(
            "--credentials",
            help="Folder with the files channel-access-token and to, as a mounted Secret.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "0.0.0.0",  # noqa: S104  # a container's
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any that is free.")] = 9096,
    line_api: Annotated[
        str, typer.Option("--line-api", help="Address of LINE's Messaging API, or of a proxy to it.")
    ] = "https://api.line.me",
) -> None:
    """Relay Alertmanager's alerts to LINE."""
    if not line_api.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise typer.BadParameter("an address that begins with https:// is needed", param_hint="--line-api")
    with faults_end_the_command(), _needing("serving"):
        from presage_serving.line_relay import Line  # noqa: PLC0415  # an extra brings what it needs
        from presage_serving.process import serve_asgi  # noqa: PLC0415  # as above
        from presage_serving.relay_application import relay_application  # noqa: PLC0415  # as above

        serve_asgi(relay_application(Line(credentials, line_api.rstrip("/")), time.time), host, port)


@contextmanager
def _needing(*extras: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).startswith("presage"):
            raise
        raise MissingExtraError(
            f"this command needs the Python package {error.name}, which is not installed.",
            f"Install what it needs: pip install 'presage[{','.join(extras)}]'.",
        ) from error
