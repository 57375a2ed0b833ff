"""Who is asking, and whether it may: before anything of the request is looked at."""

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import BaseRouteHandler

from nocall import org
from nocall.api.runtime import Runtime
from nocall.errors import NotAuthenticated, ScopeMissing
from nocall.model import Actor, Scope

OPERATOR = "operator"
SYSTEM = Actor("system", "api", "api", "")


async def require(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """A guard: the route's `scope` says what a token needs; without one the route is open."""
    if connection.scope.get("method") == "OPTIONS":
        # The framework's own answer names the methods of one handler where a path has several.
        known = connection.app.state.document["paths"][connection.scope["path_template"]]
        raise MethodNotAllowedException(headers={"allow": ", ".join(known).upper()})
    needed = handler.opt.get("scope")
    if needed is None:
        return
    runtime: Runtime = connection.app.state.runtime
    text = bearer(connection.headers.get("authorization"))
    if needed == OPERATOR:
        async with runtime.door.transaction(SYSTEM) as tx:
            connection.scope["user"] = await org.authenticate_operator(tx, text)
        return
    actor = await runtime.tokens.authenticate(text)
    if needed not in actor.scopes:
        raise ScopeMissing(f"the token needs the scope {Scope(needed).value}")
    connection.scope["user"] = actor


def bearer(header: str | None) -> str:
    """The token of an Authorization header. Raises `NotAuthenticated`."""
    if header is None:
        raise NotAuthenticated("the Authorization header is missing")
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise NotAuthenticated("the Authorization header must be: Bearer TOKEN")
    return text.strip()


def actor_of(request: Request[Any, Any, Any]) -> Actor:
    actor: Actor = request.scope["user"]
    return actor


def runtime_of(request: Request[Any, Any, Any]) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime
