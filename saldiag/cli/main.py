"""Arguments in, exit code out. Imports no TensorFlow: a command's work is imported when it runs."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from saldiag.cli import diagnose, pictures, recorded, selftest, training
from saldiag.cli.invocation import Invocation
from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import caused_by_interrupt, noting_interrupts
from saldiag.core.wording import masked
from saldiag.version import __version__

FAILED = 2
"""Exit code for bad usage, unreadable input and interruptions."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="saldiag")
def cli() -> None:
    """Find out why a Keras model doesn't learn, prove it, and point at the line to change.

    Exit codes: 0 no finding at or above --fail-on, 1 findings or a model that does not learn,
    2 could not run.
    """


for command in (
    *diagnose.COMMANDS,
    *training.COMMANDS,
    *selftest.COMMANDS,
    *recorded.COMMANDS,
    *pictures.COMMANDS,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return _main(Invocation(tuple(sys.argv[1:] if arguments is None else arguments)))


def _main(invocation: Invocation) -> int:
    with noting_interrupts():
        return _run(invocation)


def _run(invocation: Invocation) -> int:
    try:
        result = cli.main(
            args=invocation.command_line,
            prog_name="saldiag",
            standalone_mode=False,
            obj=invocation,
        )
    except BrokenPipeError:
        # The reader of a pipe closed it (`saldiag explain SD101 | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (Exception, KeyboardInterrupt) as error:
        if invocation.debug and not isinstance(error, click.ClickException):
            raise
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            sys.stderr.write(f"{error.format_message()}\n")
        else:
            _print_error(_explained(error))
        return FAILED
    return result if isinstance(result, int) else 0


def _explained(error: BaseException) -> str:
    """What went wrong and where, in one line."""
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        return f"{error.format_message()} (see {context.command_path if context else 'saldiag'} -h)"
    if isinstance(error, click.Abort) or caused_by_interrupt(error):
        return "interrupted"
    if isinstance(error, SaldiagError):
        return str(error)
    if isinstance(error, OSError):
        return _system_error(error)
    return f"this is a fault in saldiag: {type(error).__name__}: {error} (--debug shows where)"


def _print_error(message: str) -> None:
    line = " ".join(message.split())
    sys.stderr.write(f"saldiag: {masked(line)}\n")


def _system_error(error: OSError) -> str:
    where = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return f"{where}: the disk is full; free some space or choose another --out"
    return f"{where}: {error.strerror or error}"


def run() -> None:
    """The console script."""
    invocation = Invocation(tuple(sys.argv[1:]))
    code = _main(invocation)
    if invocation.before_exit is not None:
        invocation.before_exit()
    sys.exit(code)


if __name__ == "__main__":
    run()
