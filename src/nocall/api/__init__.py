"""JSON over HTTP: routes, guard, envelope. It translates; it holds no rule and no SQL."""

from nocall.api.application import build_application
from nocall.api.runtime import Runtime

__all__ = ["Runtime", "build_application"]
