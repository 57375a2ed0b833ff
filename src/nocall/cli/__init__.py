"""The same verbs in a terminal. Readable by default, one JSON document with `--json`."""

from nocall.cli.group import main

__all__ = ["main"]
