"""Commands that watch a training: run and train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from saldiag.app.program.options import ProgramOptions
from saldiag.app.session.command_options import RecipeOptions, TrainOptions
from saldiag.app.session.options import Options
from saldiag.cli.diagnose import options_from, take_experiments, take_rule_choice
from saldiag.cli.invocation import invocation
from saldiag.cli.options import (
    Finite,
    experiment_options,
    model_options,
    option_for,
    options_for,
    output_options,
    parameters_of,
    rule_options,
    source_options,
    together,
)
from saldiag.core.training.numbers import TrainingNumbers

TRAIN_SUBSET = 1.0
"""``saldiag train`` trains on everything; the other commands look at a part."""

train_options = together(
    model_options,
    option_for(TrainOptions, "precision"),
    source_options,
    option_for(
        Options,
        "subset",
        default=TRAIN_SUBSET,
        show_default=True,
        help="Fraction of the training, the validation and the held-out samples.",
    ),
    option_for(TrainOptions, "epochs"),
    option_for(
        Options,
        "image_size",
        show_default="224",
        help="Height and width of images in pixels, for models of any input size.",
    ),
    option_for(
        Options,
        "batch_size",
        default=TrainingNumbers.batch_size,
        show_default=True,
        help="Samples in a batch.",
    ),
    option_for(
        Options,
        "learning_rate",
        type=Finite(0.0, min_open=True),
        help="A constant rate; the default is the optimizer's own rate, or quicksal's cycle.",
    ),
    options_for(TrainOptions, "patience", "recalibrate"),
    options_for(RecipeOptions, "base_learning_rate", "max_learning_rate", "step_size", "beta2"),
)


@click.command("run", context_settings={"allow_interspersed_args": False})
@options_for(ProgramOptions, "steps", "overfit", "budget", "max_steps")
@experiment_options
@options_for(ProgramOptions, "stop_early", "compat", "backend", "replicas", "probes")
@rule_options
@output_options
@click.argument("typed", metavar="SCRIPT", type=click.Path())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_command(**parameters: Any) -> int:
    """Run SCRIPT with its ARGUMENTS and diagnose every Keras model that it trains.

    SCRIPT is a Python file or a notebook. Options of saldiag come before it. The program runs
    unchanged, except that --compat emulates names of Keras 1 and 2. If the program crashes, SD904
    explains the error if its cause is certain.
    """
    from saldiag.app.program.run import reinstall_program, run_program

    # Its ``atexit`` handlers run when this process ends.
    invocation().before_exit = reinstall_program
    experiments, rules = take_experiments(parameters), take_rule_choice(parameters)
    return run_program(
        ProgramOptions(
            script=Path(parameters["typed"]),
            rules=rules,
            experiments=experiments,
            command_line=invocation().command_line,
            **parameters,
        )
    )


@click.command()
@train_options
@option_for(TrainOptions, "probes")
@option_for(Options, "resume", help="Continue the training in --out.")
@rule_options
@output_options
def train(**parameters: Any) -> int:
    """Diagnose a model, then train it with probes on.

    Your own model trains as it was compiled, on any --data, of which a tenth is held out for
    validation; quicksal trains by its recipe (cyclic learning rate, F-beta) on image-and-mask
    pairs. Both keep the best epoch; --resume continues a training that was killed. A custom
    training loop stays in your program: use saldiag run SCRIPT.
    """
    from saldiag.app.commands import train as training

    if parameters["resume"] and parameters["out"] is None:
        raise click.UsageError("--resume needs --out: the run directory to continue")
    recipe = parameters_of(RecipeOptions, parameters)
    chosen = parameters_of(TrainOptions, parameters)
    return training.train(
        TrainOptions(options_from(parameters), recipe=RecipeOptions(**recipe), **chosen)
    )


COMMANDS: tuple[click.Command, ...] = (run_command, train)
