"""nocall: the numbers an organization must not call, the gate before its dialer, the proof."""

from importlib.metadata import version

__version__ = version("nocall")
