"""Arguments in, exit code out. Imports no TensorFlow: a command's work is imported when it runs."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from saldiag import __version__
from saldiag.app.session.options import Options, Wishes, note_invocation
from saldiag.app.session.settings import RuleChoice
from saldiag.cli import pictures, recorded
from saldiag.cli.options import (
    POSITIVE,
    SEED,
    Duration,
    Finite,
    debug_option,
    experiment_options,
    format_option,
    look_options,
    out_option,
    output_options,
    rule_options,
    suspect_option,
    train_options,
)
from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import caused_by_interrupt, noting_interrupts
from saldiag.core.training.schedule import PRESETS
from saldiag.selftest.cases import REPORTED, TUNING

FAILED = 2


def _taken(options: dict[str, Any]) -> RuleChoice:
    """What the options say of rules, taken out of them."""
    return RuleChoice.of(*(options.pop(name) for name in ("select", "ignore", "config")))


def _asked(options: dict[str, Any]) -> Options:
    return Options(rules=_taken(options), **options)


TEST_SECONDS, TEST_STEPS = 60.0, 200
"""The overfit test that goes before experiments, at the most."""


def _wishes(options: dict[str, Any]) -> Wishes | None:
    """What the options say of experiments, taken out of them."""
    wanted, suspect = options.pop("experiments"), options.pop("suspect")
    budget = options.pop("experiments_budget")
    if suspect and not wanted:
        raise click.UsageError("--suspect needs --experiments")
    return Wishes(suspect, budget) if wanted else None


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="saldiag")
def cli() -> None:
    """Tell why a Keras model does not learn, prove it, and point at the line.

    Exit codes: 0 nothing found at or above --fail-on, 1 findings or a model that does not learn,
    2 could not run.
    """


@cli.command()
@look_options
@click.option(
    "--budget", type=Finite(min=1.0), default=180.0, show_default=True,
    help="Seconds to train at the most.",
)  # fmt: skip
@click.option(
    "--max-steps",
    type=POSITIVE,
    default=400,
    show_default=True,
    help="Training steps at the most.",
)
@click.option(
    "--items", type=click.IntRange(min=0),
    help="Samples of the subset to memorise, 0 for all of it; by hardware.",
)  # fmt: skip
@experiment_options
def overfit(**options: Any) -> int:
    """Can the model memorise a few samples? The first thing to ask."""
    from saldiag.app.commands import diagnose

    wishes = _wishes(options)
    return diagnose.overfit(dataclasses.replace(_asked(options), experiments=wishes))


@cli.command()
@look_options
@click.option(
    "--items", type=click.IntRange(min=0),
    help="Samples of the subset to train on, 0 for all of it; by hardware.",
)  # fmt: skip
@suspect_option
@click.option(
    "--budget", type=Duration(), default=120.0, show_default="2m", metavar="TIME",
    help="Time for the experiments at the most: 90s, 2m, 10m.",
)  # fmt: skip
@click.option(
    "--jobs", type=POSITIVE, default=1, show_default=True,
    help="Experiments side by side, in processes of their own.",
)  # fmt: skip
@click.option(
    "--ray", metavar="ADDRESS",
    help="Make them on the Ray cluster there (auto, HOST:PORT) with --jobs actors.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the experiments in --out.")
def prove(**options: Any) -> int:
    """Which change makes the model learn, and which do not? By experiment.

    After the overfit test one thing at a time is changed, and the model is trained anew from the
    same starts, on the same batches, for at least three seeds. What findings and --suspect name
    comes first.
    """
    from saldiag.app.commands import diagnose

    if options["resume"] and options["out"] is None:
        raise click.UsageError("--resume needs --out: the run directory to go on with")
    names = ("suspect", "budget", "jobs", "ray")
    wishes = Wishes(**{name: options.pop(name) for name in names})
    asked = _asked({**options, "budget": TEST_SECONDS, "max_steps": TEST_STEPS})
    return diagnose.prove(dataclasses.replace(asked, experiments=wishes))


@cli.command()
@look_options
@click.option(
    "--steps", type=POSITIVE, default=5, show_default=True, help="Training steps to measure."
)
def gradients(**options: Any) -> int:
    """Where does the gradient go, and does it move the weights?"""
    from saldiag.app.commands import diagnose

    return diagnose.gradients(_asked(options))


@cli.command()
@look_options
def dtypes(**options: Any) -> int:
    """Which dtypes does a forward pass really use? Found by tracing."""
    from saldiag.app.commands import diagnose

    return diagnose.dtypes(_asked(options))


@cli.command()
@look_options
def trainable(**options: Any) -> int:
    """Which variables are declared trainable, and which really train?"""
    from saldiag.app.commands import diagnose

    return diagnose.trainable(_asked(options))


@cli.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--steps", type=POSITIVE, help="End each training after so many steps.")
@click.option("--overfit", is_flag=True, help="First see whether a few batches can be memorised.")
@click.option(
    "--budget", type=Finite(min=1.0), default=60.0, show_default=True,
    help="Seconds for --overfit at the most.",
)  # fmt: skip
@click.option(
    "--max-steps", type=POSITIVE, default=200, show_default=True,
    help="Training steps for --overfit at the most.",
)  # fmt: skip
@experiment_options
@click.option("--stop-early", is_flag=True, help="End the program once the verdict is certain.")
@click.option(
    "--compat", is_flag=True,
    help="Bridge what Keras 3 and numpy 2 renamed, and tell what to write instead.",
)  # fmt: skip
@click.option(
    "--probes", type=click.Choice(tuple(PRESETS)), default="economy", show_default=True,
    help="How often to measure gradients.",
)  # fmt: skip
@rule_options
@output_options
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_command(**options: Any) -> int:
    """Run SCRIPT with its ARGUMENTS, and diagnose every Keras model that it trains.

    SCRIPT is a Python file or a notebook. Options of saldiag come before it. The program runs
    unchanged; --compat bridges names of Keras 1 and 2 meanwhile. If it crashes, SD904 says what
    the error means, where that is certain.
    """
    from saldiag.app.program.options import ProgramOptions
    from saldiag.app.program.run import run_program

    wishes = _wishes(options)
    return run_program(ProgramOptions(rules=_taken(options), experiments=wishes, **options))


@cli.command()
@train_options
@click.option(
    "--probes", type=click.Choice(tuple(PRESETS)), default="economy", show_default=True,
    help="How often to measure gradients.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the training in --out.")
@rule_options
@output_options
def train(**options: Any) -> int:
    """Train a model with probes on, diagnosed before the first step.

    A model of your own is trained as it was compiled, on any --data, of which a tenth is held out
    to validate with; quicksal by the recipe of the case, on pairs of image and mask (a cyclic rate,
    F-beta). Either keeps its best epoch and goes on after a kill with --resume. A loop of your own
    stays in your program: saldiag run SCRIPT watches that.
    """
    from saldiag.app.commands import train as training

    if options["resume"] and options["out"] is None:
        raise click.UsageError("--resume needs --out: the run directory to go on with")
    names = ("precision", "epochs", "patience", "probes", "recalibrate")
    own = {name: options.pop(name) for name in names}
    cycle = {name: options.pop(name) for name in training.OF_THE_RECIPE}
    given = {name: value for name, value in cycle.items() if value is not None}
    return training.train(training.TrainOptions(_asked(options), cycle=given, **own))


@cli.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option(
    "--seed", type=SEED, default=REPORTED, show_default=True,
    help=f"Of data and weights: {REPORTED} is held out, thresholds were chosen on {TUNING}.",
)  # fmt: skip
@click.option(
    "--jobs", type=POSITIVE, default=(os.cpu_count() or 1) + 1,
    show_default="one more than there are processors",
    help="Worker processes.",
)  # fmt: skip
@out_option
@format_option
@debug_option
def selftest(**options: Any) -> int:
    """Run saldiag on programs with a known fault, and on healthy ones.

    PARTs of names narrow it (healthy, softmax, lstm). Exit code 1 if faults are missed or false
    alarms raised that are not on record.
    """
    from saldiag.cli.selftest import SelftestOptions
    from saldiag.cli.selftest import selftest as run_matrix

    return run_matrix(SelftestOptions(**options))


for command in (*recorded.COMMANDS, pictures.data, pictures.predict):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    note_invocation(sys.argv[1:] if arguments is None else arguments)
    with noting_interrupts():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(args=arguments, prog_name="saldiag", standalone_mode=False)
    except BrokenPipeError:
        # The reader went away (`saldiag explain SD101 | head`): nothing is wrong, say nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("SALDIAG_DEBUG") and not isinstance(error, click.ClickException):
            raise
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            sys.stderr.write(f"{error.format_message()}\n")
        else:
            _say(_explain(error))
        return FAILED
    return result if isinstance(result, int) else 0


def _explain(error: BaseException) -> str:
    """One line on what went wrong, and where."""
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


def _say(message: str) -> None:
    line = " ".join(message.split())
    safe = "".join(c if c.isprintable() else "?" for c in line)
    sys.stderr.write(f"saldiag: {safe}\n")


def _system_error(error: OSError) -> str:
    where = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return f"{where}: the disk is full; make room or choose another --out"
    return f"{where}: {error.strerror or error}"


def run() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
