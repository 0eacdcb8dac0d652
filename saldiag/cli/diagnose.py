"""Commands that examine one model: overfit, prove, gradients, dtypes, trainable."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from saldiag.app.session.options import ExperimentOptions, Options
from saldiag.app.session.settings import RuleChoice
from saldiag.cli.invocation import invocation
from saldiag.cli.options import (
    examination_options,
    experiment_options,
    option_for,
    options_for,
    parameters_of,
    suspect_option,
)

TEST_SECONDS, TEST_STEPS = 60.0, 200
"""Limits of the overfit test that precedes the experiments of ``prove``."""


def take_rule_choice(parameters: dict[str, Any]) -> RuleChoice:
    """Take what the command line says about rules out of its parameters."""
    return RuleChoice.from_options(
        *(parameters.pop(name) for name in ("select", "ignore", "config"))
    )


def take_experiments(parameters: dict[str, Any]) -> ExperimentOptions | None:
    """Take what the command line says about experiments out of its parameters.

    Raises:
        click.UsageError: ``--suspect`` without ``--experiments``.
    """
    wanted, suspect = parameters.pop("experiments"), parameters.pop("suspect")
    budget = parameters.pop("experiments_budget")
    if suspect and not wanted:
        raise click.UsageError("--suspect needs --experiments")
    return ExperimentOptions(suspect, budget, debug=invocation().debug) if wanted else None


def options_from(parameters: dict[str, Any]) -> Options:
    """A command's parameters as ``Options``."""
    rules, command_line = take_rule_choice(parameters), invocation().command_line
    return Options(rules=rules, command_line=command_line, **parameters)


@click.command()
@examination_options
@options_for(Options, "budget", "max_steps", "items")
@experiment_options
def overfit(**parameters: Any) -> int:
    """Check whether the model can memorise a few samples. Start here."""
    from saldiag.app.commands import diagnose

    experiments = take_experiments(parameters)
    return diagnose.overfit(dataclasses.replace(options_from(parameters), experiments=experiments))


@click.command()
@examination_options
@option_for(Options, "items")
@suspect_option
@options_for(ExperimentOptions, "budget", "jobs", "ray")
@option_for(Options, "resume")
def prove(**parameters: Any) -> int:
    """Find by experiment which change makes the model learn.

    After the overfit test, one thing at a time is changed and the model is trained again from the
    same initial weights on the same batches, with at least three seeds. Changes that findings or
    --suspect point to are tried first.
    """
    from saldiag.app.commands import diagnose

    if parameters["resume"] and parameters["out"] is None:
        raise click.UsageError("--resume needs --out: the run directory to continue")
    chosen = parameters_of(ExperimentOptions, parameters)
    experiments = ExperimentOptions(**chosen, debug=invocation().debug)
    options = options_from({**parameters, "budget": TEST_SECONDS, "max_steps": TEST_STEPS})
    return diagnose.prove(dataclasses.replace(options, experiments=experiments))


@click.command()
@examination_options
@option_for(Options, "steps")
def gradients(**parameters: Any) -> int:
    """Show where the gradient flows and whether it moves the weights."""
    from saldiag.app.commands import diagnose

    return diagnose.gradients(options_from(parameters))


@click.command()
@examination_options
def dtypes(**parameters: Any) -> int:
    """Show which dtypes a forward pass really uses, by tracing it."""
    from saldiag.app.commands import diagnose

    return diagnose.dtypes(options_from(parameters))


@click.command()
@examination_options
def trainable(**parameters: Any) -> int:
    """Show which variables are declared trainable and which really train."""
    from saldiag.app.commands import diagnose

    return diagnose.trainable(options_from(parameters))


COMMANDS: tuple[click.Command, ...] = (overfit, prove, gradients, dtypes, trainable)
