"""Compiles a model with its own loss and optimizer, or with those that the user names."""

from __future__ import annotations

from typing import Any

import keras

from saldiag.core.errors import ModelError, SaldiagError
from saldiag.core.suggest import suggestion
from saldiag.core.wording import printable
from saldiag.recipes.losses import LOSSES, loss_by_name
from saldiag.subject.models.spec import parse_code_reference
from saldiag.subject.models.user_code import resolve_reference, user_errors_as


def compile_for_diagnosis(
    model: Any,
    *,
    loss: str | None = None,
    optimizer: str | None = None,
    learning_rate: Any = None,
    where: str,
) -> None:
    """Compile the model without XLA; everything that is not named stays as it was.

    Args:
        model: a Keras model. A model that is not compiled needs a loss, and gets Adam by default.
        loss: spec of the loss, see ``find_loss``; None keeps the model's.
        optimizer: name of a Keras optimizer, with Keras' defaults; None keeps the model's.
        learning_rate: a number or a Keras schedule; None keeps the optimizer's.
        where: name of the model in messages.

    Raises:
        ModelError: the model is not compiled and no loss is named, or ``compile`` fails.
        SaldiagError: there is no such loss or optimizer.
    """
    compiled = bool(getattr(model, "compiled", False))
    if not compiled and loss is None:
        raise ModelError(
            f"{where}: the model is not compiled: compile it, or give --loss"
            " (mse, bce, sparse_categorical_crossentropy, FILE.py:FUNCTION, …)"
        )
    if not compiled or (loss, optimizer, learning_rate) != (None, None, None):
        chosen = find_loss(loss) if loss is not None else model.loss
        with user_errors_as(ModelError, where):
            model.compile(
                optimizer=make_optimizer(model, optimizer, learning_rate),
                loss=chosen,
                jit_compile=False,
            )
    model.jit_compile = False  # XLA compiles for minutes what a diagnosis runs for a few steps


def find_loss(spec: str) -> Any:
    """A loss by its name (saldiag's or Keras'), or from ``MODULE:NAME`` or ``FILE.py:NAME``.

    Raises:
        SaldiagError: there is no such loss, or the user's code raises an error.
    """
    code = parse_code_reference("--loss", spec, SaldiagError)
    if code is not None:
        found = resolve_reference(code, SaldiagError)
        if isinstance(found, type):
            with user_errors_as(SaldiagError, str(code)):
                return found()
        return found
    if spec in LOSSES:
        return loss_by_name(spec)
    try:
        return keras.losses.get(spec)
    except ValueError as error:
        hint = _suggest_name(spec, keras.losses, LOSSES)
        raise SaldiagError(f"no loss is named {printable(repr(spec))}: {hint}") from error


def make_optimizer(model: Any, name: str | None, learning_rate: Any) -> Any:
    """A new optimizer.

    Args:
        model: its optimizer's class and settings are used if ``name`` is None; Adam if it has none.
        name: name of a Keras optimizer; None for the model's.
        learning_rate: a number or a Keras schedule; None keeps the optimizer's.

    Raises:
        SaldiagError: there is no such optimizer, or its schedule cannot be replaced by a number.
    """
    own = getattr(model, "optimizer", None)
    if name is None and own is not None:
        fresh = type(own).from_config(own.get_config())
        return fresh if learning_rate is None else _with_learning_rate(fresh, learning_rate)
    try:
        kind = type(keras.optimizers.get(name or "adam"))
    except ValueError as error:
        hint = _suggest_name(name or "", keras.optimizers, ())
        raise SaldiagError(f"no optimizer is named {printable(repr(name))}: {hint}") from error
    return kind() if learning_rate is None else kind(learning_rate=learning_rate)


def _with_learning_rate(optimizer: Any, learning_rate: Any) -> Any:
    try:
        optimizer.learning_rate = learning_rate
    except TypeError as error:
        raise SaldiagError(
            "--learning-rate: the model's optimizer has a schedule, which a number cannot replace:"
            " give --optimizer NAME for a new optimizer"
        ) from error
    return optimizer


def _suggest_name(wrong: str, module: Any, first: tuple[str, ...]) -> str:
    names = [name for name in dir(module) if name[0] != "_" and callable(getattr(module, name))]
    hidden = {"get", "serialize", "deserialize", "Loss", "Optimizer", "LossScaleOptimizer"}
    known = [*first, *(name.lower() for name in names if name not in hidden)]
    return suggestion(wrong, list(dict.fromkeys(known)))
