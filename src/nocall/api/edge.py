"""The outermost layer: a request id, a metric and a log line for each request."""

import contextvars
import logging
import re
import secrets
import time
from typing import Any

from nocall.api.metrics import Metrics

_LOG = logging.getLogger("nocall.access")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_QUIET = ("/health/live", "/health/ready", "/metrics")

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


class Edge:
    """An ASGI application around another."""

    def __init__(self, metrics: Metrics, inner: Any) -> None:
        self._metrics = metrics
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        started = time.perf_counter()
        identity = _identity(scope)
        request_id.set(identity)
        status = 500

        async def send_marked(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), (b"x-request-id", identity.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._inner(scope, receive, send_marked)
        finally:
            seconds = time.perf_counter() - started
            route = scope.get("path_template") or "unknown"
            self._metrics.requests.labels(scope["method"], route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            if route not in _QUIET:
                actor = scope.get("user")
                _LOG.info(
                    "request",
                    extra={
                        "method": scope["method"],
                        "route": route,
                        "status": status,
                        "ms": round(seconds * 1000, 2),
                        "org": getattr(actor, "org_id", None),
                        "actor": getattr(actor, "id", None),
                    },
                )


def _identity(scope: Any) -> str:
    """The caller's X-Request-Id where it is a plain word, else one of ours."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.match(value):
            return str(value.decode())
    return secrets.token_hex(8)
