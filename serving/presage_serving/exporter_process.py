"""The price exporter's process: a thread that answers scrapes, and the loop that asks the exchange."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from socketserver import ThreadingMixIn
from types import FrameType
from typing import Any, NoReturn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from presage.errors import RetryError
from presage.sources.ccxt_client import connect
from presage_serving.price_exporter import Poller, PriceCollector

_REQUEST_SECONDS = 10

logger = logging.getLogger("presage.serving")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    # A caller that says nothing holds no thread.
    timeout = _REQUEST_SECONDS

    def log_message(self, *_: object) -> None:
        """Say nothing of a scrape."""


def run_exporter(
    exchange: str, symbols: Sequence[str], *, interval: float, host: str, port: int, uri: str | None
) -> None:
    """Export the prices of markets until a stop signal; SIGTERM ends with exit code 0.

    Args:
        exchange: Its ccxt id.
        symbols: Markets, as ccxt names them.
        interval: Seconds between two questions for a price.
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        uri: Address in place of the exchange's own.

    Raises:
        DataError: There is no such exchange or market.
        JobError: `uri` is no address to ask.
        MissingExtraError: ccxt is not installed.
        RetryError: The address cannot be listened on.
        KeyboardInterrupt: The exporter was interrupted.
    """
    signal.signal(signal.SIGTERM, _end)
    with closing(connect(exchange, exchange, sleep=time.sleep, uri=uri)) as client:
        prices = PriceCollector(exchange, interval, time.time)
        with metrics_endpoint(prices.registry, host, port) as listening:
            logger.info("listening", extra={"host": host, "port": listening, "exchange": exchange})
            Poller(client, symbols, prices, interval).run(time.sleep)


@contextmanager
def metrics_endpoint(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Answer /metrics and /healthz on an address until the block ends, and give the port.

    Raises:
        RetryError: The address cannot be listened on.
    """
    try:
        server = make_server(host, port, _application(registry), server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise RetryError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}.",
            "Stop what listens there, or give another --host or --port.",
        ) from error
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _application(registry: CollectorRegistry) -> Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]:
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)  # type: ignore[no-any-return]
        status, content = ("200 OK", b"alive\n") if path in ("/", "/healthz") else ("404 Not Found", b"not found\n")
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))])
        return [content]

    return answer


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
