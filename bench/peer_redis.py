"""The peer a user would build: FastAPI on uvicorn, the list a set in Redis, one constant token.

It knows one list, keeps no reasons, no ledger and no switch, and loses what Redis loses.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import redis
import redis.asyncio
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

from load import CORE
from machine import free_port, pin_self, running, uvicorn_command

TOKEN = "a-constant-token-of-the-peer-0123456789"
_KEY = "dnc"
_SOCKET_OPTION = "PEER_REDIS_SOCKET"


@contextlib.asynccontextmanager
async def _lifespan(application: FastAPI) -> AsyncIterator[None]:
    application.state.redis = redis.asyncio.Redis(unix_socket_path=os.environ[_SOCKET_OPTION])
    yield
    await application.state.redis.aclose()


app = FastAPI(lifespan=_lifespan)


def _authenticate(authorization: Annotated[str, Header()] = "") -> None:
    if not secrets.compare_digest(authorization.encode(), f"Bearer {TOKEN}".encode()):
        raise HTTPException(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})


class Numbers(BaseModel):
    phoneNumbers: list[str]  # noqa: N815 - the wire's name, as the product has it


@app.get("/check", dependencies=[Depends(_authenticate)])
async def check(phoneNumber: str, request: Request) -> dict[str, str]:  # noqa: N803 - the wire's name
    listed = await request.app.state.redis.sismember(_KEY, phoneNumber)
    return {"phoneNumber": phoneNumber, "verdict": "blocked" if listed else "callable"}


@app.post("/check", dependencies=[Depends(_authenticate)])
async def check_many(body: Numbers, request: Request) -> dict[str, list[dict[str, str]]]:
    listed = await request.app.state.redis.smismember(_KEY, body.phoneNumbers)
    return {
        "results": [
            {"phoneNumber": number, "verdict": "blocked" if found else "callable"}
            for number, found in zip(body.phoneNumbers, listed, strict=True)
        ]
    }


def installed() -> bool:
    return shutil.which("redis-server") is not None


@contextlib.contextmanager
def redis_server(folder: Path, listed: Sequence[int]) -> Iterator[Path]:
    """The socket of a Redis of our own, not pinned, nothing saved, holding the set `listed`."""
    path = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no"]
    with running(command, folder / "redis.log", pinned=False):
        client = redis.Redis(unix_socket_path=str(path))
        _wait(client)
        for start in range(0, len(listed), 10_000):
            client.sadd(_KEY, *listed[start : start + 10_000])
        client.close()
        yield path


def _wait(client: redis.Redis) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def http_peer(folder: Path, socket: Path) -> Iterator[int]:
    """The port of the FastAPI application over the Redis at `socket`, on the server's core."""
    port = free_port()
    with running(
        uvicorn_command("peer_redis:app", port),
        folder / "peer.log",
        environment={_SOCKET_OPTION: str(socket)},
        ready=(port, "/openapi.json"),
    ):
        yield port


def in_process(socket: Path, runs: Sequence[list[str]], seconds: float) -> float:
    """Numbers a second of SMISMEMBER from Python, a thousand at a time: no HTTP, no token."""
    pin_self(CORE)
    client = redis.Redis(unix_socket_path=str(socket))
    asked = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        run = runs[asked // len(runs[0]) % len(runs)]
        client.smismember(_KEY, run)
        asked += len(run)
    rate = asked / (time.perf_counter() - start)
    client.close()
    return rate
