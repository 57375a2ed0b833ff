"""The ASGI application: routes, guard, envelope, and the lane and the edge around them."""

from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from nocall.api import call, check, dnc, document, health, org, page
from nocall.api.edge import Edge
from nocall.api.envelope import on_any_error, on_http_error, on_nocall_error
from nocall.api.guard import require
from nocall.api.lane import CheckLane
from nocall.api.runtime import Runtime
from nocall.errors import NocallError

HANDLERS = (
    *dnc.ROUTES,
    *check.ROUTES,
    *call.ROUTES,
    *org.ROUTES,
    *health.ROUTES,
    *page.ROUTES,
)


def build_application(runtime: Runtime) -> Any:
    """An ASGI application over `runtime`, whose parts its maker opens and closes."""
    litestar = Litestar(
        route_handlers=list(HANDLERS),
        guards=[require],
        exception_handlers={
            NocallError: on_nocall_error,
            HTTPException: on_http_error,
            Exception: on_any_error,
        },
        state=State({"runtime": runtime, "document": document.build(HANDLERS)}),
        openapi_config=None,
        request_max_body_size=runtime.settings.body_limit_bytes,
        logging_config=None,
    )
    return CheckLane(runtime, Edge(runtime.metrics, litestar))
