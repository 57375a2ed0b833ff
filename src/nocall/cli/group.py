"""The command tree and its one place for errors."""

import errno
import sys
from typing import Any, NoReturn

import click

from nocall import __version__
from nocall.cli import dnc, ledger, operate, org, token
from nocall.cli.running import exit_code
from nocall.errors import NocallError, StartRefused


class _Tree(click.Group):
    """Errors go to stderr in one line, each with its exit code."""

    def main(  # type: ignore[override]  # one signature for click's two overloads
        self, args: Any = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as asked:
            asked.show()
            sys.exit(asked.exit_code)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except click.Abort:
            _fail("stopped", 1)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NocallError as error:
            _fail(str(error), exit_code(error))
        except OSError as error:
            # A reader that went away is no error of ours; click ends quietly then.
            if error.errno == errno.EPIPE or error.filename is None:
                raise
            _fail(f"{error.filename}: {error.strerror}", exit_code(StartRefused()))


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"nocall: {' '.join(sentence.split())}", err=True)
    sys.exit(code)


@click.group(cls=_Tree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nocall")
def main() -> None:
    """The Do-Not-Call list, the gate in front of the dialer, and the proof afterwards.

    Exit codes: 0 done, 1 unexpected, 2 usage, 3 will not start or cannot use a file, 4 invalid
    input, 5 not found or another organization's, 6 conflict or already listed, 7 database
    unavailable, 8 ledger broken; with dnc check --exit-code also 10 blocked, 11 invalid number.
    """


for command in (
    *operate.COMMANDS,
    org.group,
    token.group,
    dnc.group,
    ledger.group,
):
    main.add_command(command)
