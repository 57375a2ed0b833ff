"""The fast lane: plain checks, answered before the framework is asked.

It takes only requests that are right in every way. Everything else, every error included, goes on
to the framework's route untouched, so that there is one place where requests are refused.
"""

import time
from collections import Counter
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from nocall.api import wire
from nocall.api.body import decode
from nocall.api.check import NUMBERS_LIMIT, many_reply, one_reply
from nocall.api.guard import bearer
from nocall.api.metrics import CHECK_ROUTE
from nocall.api.runtime import Runtime
from nocall.errors import NocallError
from nocall.model import Actor, Scope
from nocall.number import from_query

_PARAMETER = b"phoneNumber="


class CheckLane:
    """An ASGI application around another."""

    def __init__(self, runtime: Runtime, inner: Any) -> None:
        self._runtime = runtime
        self._inner = inner
        self._encoder = msgspec.json.Encoder()
        self._tally = runtime.metrics.tally
        self._seconds = runtime.metrics.seconds.labels(CHECK_ROUTE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == CHECK_ROUTE:
            if scope["method"] == "GET":
                await self._one(scope, receive, send)
                return
            if scope["method"] == "POST":
                await self._many(scope, receive, send)
                return
        await self._inner(scope, receive, send)

    async def _one(self, scope: Any, receive: Any, send: Any) -> None:
        started = time.perf_counter()
        text = _plain_number(scope["query_string"])
        actor = await self._actor(scope) if text else None
        if text is None or actor is None:
            await self._inner(scope, receive, send)
            return
        try:
            verdict = await self._runtime.checker.check(actor, text)
        except Exception:  # noqa: BLE001 - the framework's route asks again and says what is wrong
            await self._inner(scope, receive, send)
            return
        await _send(send, self._encoder.encode(one_reply(verdict)))
        self._tally.one_count += 1
        self._tally.verdict_counts[verdict.answer] += 1
        self._seconds.observe(time.perf_counter() - started)

    async def _many(self, scope: Any, receive: Any, send: Any) -> None:
        started = time.perf_counter()
        actor = await self._actor(scope)
        length = _content_length(scope)
        if actor is None or not 0 < length <= self._runtime.settings.body_limit_bytes:
            await self._inner(scope, receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            return
        try:
            texts = decode(body, wire.CheckManyBody).phoneNumbers
            if not 1 <= len(texts) <= NUMBERS_LIMIT:
                await self._inner(scope, _again(body, receive), send)
                return
            verdicts = await self._runtime.checker.check_many(actor, texts)
        except Exception:  # noqa: BLE001 - the framework's route asks again and says what is wrong
            await self._inner(scope, _again(body, receive), send)
            return
        await _send(send, self._encoder.encode(many_reply(verdicts)))
        self._tally.many_count += 1
        for answer, count in Counter(verdict.answer for verdict in verdicts).items():
            self._tally.verdict_counts[answer] += count
        self._seconds.observe(time.perf_counter() - started)

    async def _actor(self, scope: Any) -> Actor | None:
        tokens = self._runtime.tokens
        for name, value in scope["headers"]:
            if name == b"authorization":
                actor = tokens.known(value)
                if actor is None:
                    try:
                        actor = await tokens.authenticate(bearer(value.decode("latin-1")))
                    except NocallError:
                        return None
                return actor if Scope.DNC_READ in actor.scopes else None
        return None


def _plain_number(query: bytes) -> str | None:
    """The value of a query that is `phoneNumber=…` and nothing else, else None."""
    if not query.startswith(_PARAMETER) or b"&" in query:
        return None
    value = query[len(_PARAMETER) :]
    if value.isdigit():
        return value.decode()
    try:
        return from_query(unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8")) or None
    except UnicodeDecodeError:
        return None


def _content_length(scope: Any) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


async def _read_body(receive: Any) -> bytes | None:
    """The whole body, or None where the client went away."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts) if len(parts) > 1 else bytes(parts[0])


def _again(body: bytes, receive: Any) -> Any:
    """A `receive` that gives a body that was read already, once more."""
    given = False

    async def receive_again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def _send(send: Any, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
