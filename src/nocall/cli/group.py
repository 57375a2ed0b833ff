"""The command tree and its one place for errors."""

import sys
from typing import Any

import click

from nocall import __version__
from nocall.cli import dnc, ledger, operate, org, token
from nocall.cli.running import exit_code
from nocall.errors import NocallError


class _Tree(click.Group):
    """Errors go to stderr in one line, each with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NocallError as error:
            sentence = " ".join(str(error).split())
            click.echo(f"nocall: {sentence}", err=True)
            sys.exit(exit_code(error))


@click.group(cls=_Tree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nocall")
def main() -> None:
    """The Do-Not-Call list, the gate in front of the dialer, and the proof afterwards.

    Exit codes: 0 done, 1 unexpected, 2 usage, 3 will not start, 4 invalid input, 5 not found,
    6 conflict or already listed, 7 database unavailable, 8 ledger broken; with
    dnc check --exit-code also 10 blocked and 11 invalid number.
    """


for command in (
    *operate.COMMANDS,
    org.group,
    token.group,
    dnc.group,
    ledger.group,
):
    main.add_command(command)
