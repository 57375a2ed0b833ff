"""The envelope of every reply, and the one table from errors to statuses."""

import logging
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)

from nocall import errors
from nocall.api.wire import Done, Problem
from nocall.errors import NocallError

_LOG = logging.getLogger(__name__)

STATUS: dict[type[NocallError], int] = {
    errors.NotAuthenticated: 401,
    errors.NotAllowed: 403,
    errors.Invalid: 400,
    errors.IdempotencyMismatch: 422,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.BodyTooLarge: 413,
    errors.RateExceeded: 429,
    errors.Unavailable: 503,
    errors.StartRefused: 503,
    errors.LedgerBroken: 500,
    NocallError: 500,
}


def status_of(error: NocallError) -> int:
    """The status of the nearest class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def reply(body: Done) -> Response[bytes]:
    return raw_reply(msgspec.json.encode(body), body.code)


def raw_reply(body: bytes, code: int) -> Response[bytes]:
    return Response(content=body, status_code=code, media_type="application/json")


def problem(error: NocallError) -> Problem:
    return Problem(
        message=error.message,
        status=False,
        code=status_of(error),
        errorMessage=str(error),
        errorCode=error.code,
        data=msgspec.UNSET if error.data is None else dict(error.data),
    )


def problem_reply(error: NocallError) -> Response[bytes]:
    body = problem(error)
    response = raw_reply(msgspec.json.encode(body), body.code)
    if isinstance(error, errors.NotAuthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.RateExceeded):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def on_nocall_error(_: Request[Any, Any, Any], error: NocallError) -> Response[bytes]:
    if status_of(error) >= 500:
        _LOG.error("request failed", extra={"code": error.code, "why": str(error)})
    return problem_reply(error)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The framework's own refusals, in our envelope."""
    response = problem_reply(_translate(request, error))
    if error.headers and "allow" in error.headers:
        methods = set(error.headers["allow"].split(", ")) - {"OPTIONS"}
        response.headers["Allow"] = ", ".join(sorted(methods))
    return response


def on_any_error(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    _LOG.error("unexpected error", exc_info=error)
    return problem_reply(NocallError("an unexpected error; the log has it under the request id"))


def _translate(request: Request[Any, Any, Any], error: HTTPException) -> NocallError:
    path = request.url.path
    if isinstance(error, NotFoundException):
        return errors.RouteNotFound(f"no route {request.method} {errors.show(path)}")
    if isinstance(error, MethodNotAllowedException):
        return errors.MethodNotAllowed(f"{request.method} is not allowed on {errors.show(path)}")
    if error.status_code == 413:
        limit = request.app.state.runtime.settings.body_limit_bytes
        return errors.BodyTooLarge(f"a body may have at most {limit} bytes")
    if error.status_code < 500:
        return errors.Invalid(str(error.detail))
    return NocallError(str(error.detail))
