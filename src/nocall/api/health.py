"""Liveness, readiness, metrics and the documents about the service itself."""

import asyncio
from typing import Any

import msgspec
from litestar import Request, Response, get

from nocall import follow, store
from nocall.api import document, wire
from nocall.api.envelope import reply
from nocall.api.example import success
from nocall.api.guard import SYSTEM, runtime_of
from nocall.api.runtime import Runtime
from nocall.errors import DatabaseUnavailable, Unavailable

_READY_SECONDS = 4.0


@get("/health/live", **document.route(None, "Is the process alive?", wire.HealthReply))
async def live(request: Request[Any, Any, Any]) -> Response[bytes]:
    del request
    return reply(_health("alive", {}))


@get(
    "/health/ready",
    **document.route(
        None,
        "May it take traffic?",
        wire.HealthReply,
        503,
        example=success("ready", {"databaseVersion": 1}),
    ),
)
async def ready(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Whether the database is reached and its migrations are this version's."""
    runtime = runtime_of(request)
    try:
        version = await _applied_version(runtime)
    except DatabaseUnavailable:
        runtime.metrics.database_up.set(0)
        raise
    runtime.metrics.database_up.set(1)
    if version != store.newest_version():
        raise Unavailable(f"the database is at version {version}, not {store.newest_version()}")
    return reply(_health("ready", {"databaseVersion": version}))


@get(
    "/metrics",
    media_type="text/plain; version=0.0.4",
    **document.text_route(None, "How is the service doing?", "text/plain"),
)
async def metrics(request: Request[Any, Any, Any]) -> bytes:
    """Prometheus text. A database that does not answer is itself a figure, not a failure."""
    runtime = runtime_of(request)
    try:
        async with runtime.database.transaction(SYSTEM) as tx:
            runtime.metrics.mail_waiting.set(await follow.waiting_count(tx))
        runtime.metrics.database_up.set(1)
    except DatabaseUnavailable:
        runtime.metrics.database_up.set(0)
    return runtime.metrics.text()


@get(
    "/openapi.json",
    media_type="application/json",
    **document.text_route(None, "Which routes are there?", "application/json"),
)
async def openapi(request: Request[Any, Any, Any]) -> bytes:
    """The OpenAPI 3.1 document of every route."""
    return msgspec.json.encode(request.app.state.document)


async def _applied_version(runtime: Runtime) -> int:
    asking = asyncio.create_task(_ask_version(runtime))
    done, _ = await asyncio.wait([asking], timeout=_READY_SECONDS)
    if not done:
        # Left to itself: a server that is frozen would hold up its cancellation as well.
        raise DatabaseUnavailable("the database did not answer in time")
    return asking.result()


async def _ask_version(runtime: Runtime) -> int:
    async with runtime.door.transaction(SYSTEM) as tx:
        return await store.applied_version(tx)


def _health(message: str, data: dict[str, Any]) -> wire.HealthReply:
    return wire.HealthReply.ok(message, data)


ROUTES = (live, ready, metrics, openapi)
