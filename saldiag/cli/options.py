"""Click options, made from the flags that the options classes declare. Imports no TensorFlow."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union

import click

from saldiag.app.session.command_options import CompareOptions
from saldiag.app.session.flags import Flag, flag_of
from saldiag.app.session.options import CHECK_FORMATS, FORMATS, ExperimentOptions, Options
from saldiag.app.session.settings import RuleChoice
from saldiag.cli.invocation import invocation

F = TypeVar("F", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number in a range, neither nan nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Duration(Finite):
    """Seconds, at least one: ``90``, ``90s``, ``2m`` or ``1h``."""

    name = "duration"
    _UNITS: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600}

    def __init__(self) -> None:
        super().__init__(min=1.0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The seconds, or a usage error."""
        if not isinstance(value, str) or value[-1:] not in self._UNITS:
            return super().convert(value, param, ctx)
        factor = self._UNITS[value[-1]]
        return super().convert(super().convert(value[:-1], param, ctx) * factor, param, ctx)


def option_for(
    owner: type,
    name: str,
    *,
    flag_name: str | None = None,
    parameter: str | None = None,
    **overrides: Any,
) -> Callable[[F], F]:
    """The click option of a field.

    Args:
        owner: the options class.
        name: the field.
        flag_name: the flag, if it is not the field's own.
        parameter: name of the command's parameter, if it is not the field's.
        overrides: ``help``, ``default`` or ``show_default`` of this command alone.
    """
    field, flag = flag_of(owner, name)
    kind = typing.get_type_hints(owner)[name]
    settings: dict[str, Any] = {"help": flag.help, "metavar": flag.metavar}
    if field.default not in (MISSING, None, ()) and kind is not bool:
        settings |= {"default": field.default, "show_default": flag.shown_default or True}
    elif flag.shown_default is not None:
        settings["show_default"] = flag.shown_default
    settings |= _value_settings(kind, flag) | overrides
    shown = flag_name or flag.name or f"--{name.replace('_', '-')}"
    return click.option(shown, parameter or name, **settings)


def options_for(owner: type, *names: str) -> Callable[[F], F]:
    """The click options of several fields, shown in this order."""
    return together(*(option_for(owner, name) for name in names))


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, shown in this order."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def parameters_of(owner: type, options: dict[str, Any]) -> dict[str, Any]:
    """Take the parameters that are fields of ``owner`` out of a command's parameters."""
    names = [field.name for field in fields(owner) if field.name in options]
    return {name: options.pop(name) for name in names}


def _value_settings(kind: Any, flag: Flag) -> dict[str, Any]:
    """How click reads values of a field's type."""
    if flag.duration:
        return {"type": Duration()}
    if kind is bool:
        return {"is_flag": True, "metavar": None}
    if flag.separated:
        return {"callback": _split_at_commas}
    kind, repeated = _single_type(kind)
    choices = flag.choices or (typing.get_args(kind) if typing.get_origin(kind) is Literal else ())
    if choices:
        return {"type": click.Choice(choices), "multiple": repeated}
    return {"type": _parameter_type(kind, flag), "multiple": repeated}


def _parameter_type(kind: Any, flag: Flag) -> click.ParamType[Any] | None:
    if kind is Path:
        return click.Path(path_type=Path, dir_okay=flag.metavar != "FILE")
    if kind is int:
        return click.IntRange(_whole(flag.minimum), _whole(flag.maximum))
    if kind is float:
        low = flag.minimum if flag.above is None else flag.above
        return Finite(low, flag.maximum, min_open=flag.above is not None)
    return None


def _single_type(kind: Any) -> tuple[Any, bool]:
    """The type of one value, and whether the flag may be repeated."""
    if typing.get_origin(kind) in (Union, UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, False


def _whole(limit: float | None) -> int | None:
    return None if limit is None else int(limit)


def _split_at_commas(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def _set_debug(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:
        invocation().debug = True


SEED = click.IntRange(0, 2**32 - 1)
POSITIVE = click.IntRange(min=1)
debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_set_debug,
    help="Show tracebacks of errors.",
)
format_option = option_for(
    Options,
    "output_format",
    type=click.Choice(FORMATS),
    help="Output format.",
)
check_format_option = option_for(Options, "output_format", type=click.Choice(CHECK_FORMATS))
fail_option = option_for(Options, "fail_on")
out_option = option_for(Options, "out")
rule_options = options_for(RuleChoice, "select", "ignore", "config")
suspect_option = option_for(ExperimentOptions, "suspect")
experiment_options = together(
    click.option(
        "--experiments",
        is_flag=True,
        help="After the test, change one thing at a time, train again, and report what helps.",
    ),
    suspect_option,
    option_for(
        ExperimentOptions,
        "budget",
        flag_name="--experiments-budget",
        parameter="experiments_budget",
        help="Time limit of --experiments.",
    ),
)
output_options = together(out_option, check_format_option, fail_option, debug_option)
model_options = options_for(
    Options,
    "model",
    "weights",
    "custom_objects",
    "unsafe_load",
    "loss",
    "optimizer",
    "backend",
    "seed",
)
source_options = options_for(Options, "data", "target", "inputs", "features", "pixels")
examination_options = together(
    model_options,
    option_for(Options, "precision"),
    source_options,
    options_for(Options, "image_size", "batch_size", "subset", "learning_rate"),
    rule_options,
    output_options,
)
compare_options = options_for(CompareOptions, "everything", "html", "fail_on_new")
