"""The dialer's side: what it reports of the calls it made."""

from nocall.dial.report import report

__all__ = ["report"]
