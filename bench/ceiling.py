"""What the load can reach at most: a raw ASGI application, and a bare socket protocol.

Both answer every request with the same bytes and do no work. The first is the framework-free limit
a service on uvicorn can be measured against; the second shows that the generator is faster still,
so that it is the server that is measured.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from load import new_event_loop

_BODY = b'{"message":"","status":true,"code":200,"errorMessage":"","data":{"verdict":"callable"}}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
_ANSWER = b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (
    b"".join(name + b": " + value + b"\r\n" for name, value in _HEADERS),
    _BODY,
)


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The raw ASGI application, for uvicorn."""
    if scope["type"] != "http":
        await receive()
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


class _Bare(asyncio.Protocol):
    """Answers each chunk it gets; right for requests that fit one chunk, one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        del data
        self._transport.write(_ANSWER)  # type: ignore[attr-defined]  # a stream has write


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Bare, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with (
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(_serve(int(sys.argv[1])))
