"""The server's routes: who answers what, and how a refusal looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from presage_serving import open_inference, v1
from presage_serving.directory import REPORT, ModelDirectory
from presage_serving.forecast import Served
from presage_serving.metrics import ForecastCollector, Metrics
from presage_serving.middleware import Measured
from presage_serving.refusal import Refusal

LARGEST_BODY = 2**20
_LAST_LOOK_SECONDS = 2
_JSON = "application/json"

# The page brings its own, stricter policy with the digests of its scripts; both hold. This one keeps it off the network
# and out of other pages even if the file is another one.
_REPORT_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _ModelNameConvertor(StringConvertor):
    """Matches a model's name: a verb such as `:predict` is not part of it."""

    regex = "[^/:]+"


register_url_convertor("model", _ModelNameConvertor())


class Application:
    """Answers for one model.

    Args:
        name: Name under which the model is served.
        directory: Where it is.
        metrics: What is counted.
        clock: Gives the present moment, UTC.
        interval: Seconds between two looks at the directory.
    """

    def __init__(
        self, name: str, directory: ModelDirectory, metrics: Metrics, *, clock: Callable[[], datetime], interval: float
    ) -> None:
        self._name = name
        self._directory = directory
        self._metrics = metrics
        self._clock = clock
        self._interval = interval
        metrics.registry.register(ForecastCollector(name, lambda: directory.served, clock))

    def asgi(self) -> Starlette:
        """Return the ASGI application."""
        model = "/v2/models/{name:model}"
        version = model + "/versions/{version}"
        application = Starlette(
            routes=[
                Route("/", self._alive),
                Route("/healthz", self._alive),
                Route("/readyz", self._ready),
                Route("/metrics", self._show_metrics),
                Route("/report", self._report),
                Route("/v1/models", self._v1_models),
                Route("/v1/models/{name:model}", self._v1_model),
                Route("/v1/models/{name:model}:predict", self._v1_predict, methods=["POST"]),
                Route("/v2", self._v2_server),
                Route("/v2/health/live", self._v2_live),
                Route("/v2/health/ready", self._ready),
                *(Route(path, self._v2_model) for path in (model, version)),
                *(Route(path + "/ready", self._v2_model_ready) for path in (model, version)),
                *(Route(path + "/infer", self._v2_infer, methods=["POST"]) for path in (model, version)),
            ],
            middleware=[Middleware(Measured, metrics=self._metrics)],
            exception_handlers={Refusal: _refuse, HTTPException: _refuse},
            lifespan=self._lifespan,
        )
        # A redirect would be to an address that the request's own Host header makes up.
        application.router.redirect_slashes = False
        return application

    @contextlib.asynccontextmanager
    async def _lifespan(self, _application: Starlette) -> AsyncIterator[None]:
        stop = Event()
        # A look may wait for a store that hangs: neither a request nor the end of the process waits with it.
        watch = Thread(target=self._directory.watch, args=(self._interval, stop), daemon=True)
        watch.start()
        try:
            yield
        finally:
            stop.set()
            watch.join(_LAST_LOOK_SECONDS)

    async def _alive(self, _request: Request) -> Response:
        return _json({"status": "alive"})

    async def _ready(self, _request: Request) -> Response:
        return self._readiness({})

    async def _show_metrics(self, _request: Request) -> Response:
        return Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def _report(self, _request: Request) -> Response:
        page = await asyncio.to_thread(_content, self._directory.path / REPORT)
        if page is None:
            raise Refusal(404, "The model directory holds no report.")
        return Response(page, media_type="text/html", headers=_REPORT_HEADERS)

    async def _v1_models(self, _request: Request) -> Response:
        return _json({"models": [self._name]})

    async def _v1_model(self, request: Request) -> Response:
        self._require_name(request)
        return self._readiness({"name": self._name})

    async def _v1_predict(self, request: Request) -> Response:
        served = self._require_model(request)
        return _json(v1.predict(await _body(request), served, self._clock()))

    async def _v2_server(self, _request: Request) -> Response:
        return _json(open_inference.server_metadata())

    async def _v2_live(self, _request: Request) -> Response:
        return _json({"live": True})

    async def _v2_model(self, request: Request) -> Response:
        return _json(open_inference.model_metadata(self._name, self._require_model(request)))

    async def _v2_model_ready(self, request: Request) -> Response:
        self._require_name(request)
        if self._directory.served:
            self._require_model(request)
        return self._readiness({"name": self._name})

    async def _v2_infer(self, request: Request) -> Response:
        served = self._require_model(request)
        answer = open_inference.infer(
            await _body(request),
            request.headers.get(open_inference.JSON_LENGTH),
            name=self._name,
            served=served,
            now=self._clock(),
        )
        if answer.json_length is None:
            return Response(answer.content, media_type=_JSON)
        return Response(
            answer.content,
            media_type="application/octet-stream",
            headers={open_inference.JSON_LENGTH: str(answer.json_length)},
        )

    def _readiness(self, head: dict[str, JsonValue]) -> Response:
        """Return whether forecasts are served, and where they are not, why."""
        if self._directory.served:
            return _json(head | {"ready": True})
        return _json(head | {"ready": False, "error": self._directory.fault}, status=503)

    def _require_name(self, request: Request) -> None:
        name = request.path_params["name"]
        if name != self._name:
            raise Refusal(404, f"There is no model {name!r}; {self._name!r} is served.")

    def _require_model(self, request: Request) -> Served:
        """Return what is served of the model and the version that the path names; raises Refusal for others."""
        self._require_name(request)
        served = self._directory.served
        if not served:
            raise Refusal(503, f"The model {self._name!r} is not ready: {self._directory.fault}")
        version = request.path_params.get("version", served.run)
        if version != served.run:
            raise Refusal(404, f"There is no version {version!r} of {self._name!r}; {served.run!r} is served.")
        return served


def _json(content: dict[str, JsonValue], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type=_JSON)


async def _body(request: Request) -> bytes:
    """Return the body; raises Refusal once it is too large, however large it says it is."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            # What was not read cannot be skipped on this connection.
            raise Refusal(413, f"The body is larger than {LARGEST_BODY} bytes.", {"connection": "close"})
    return bytes(body)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


async def _refuse(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _json({"error": f"{error.detail}."}, error.status_code, dict(error.headers or {}))
    if isinstance(error, Refusal):
        return _json({"error": error.sentence}, error.status, error.headers)
    raise error
