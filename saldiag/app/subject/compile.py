"""Loss and optimizer for a model: its own, or those that the user names."""

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
    """Leave the model compiled without XLA: as it was, but for what is named.

    Args:
        model: a Keras model; one that is not compiled needs a loss and gets Adam.
        loss: as ``loss_of`` takes it.
        optimizer: a name of Keras'; its settings are Keras' own but for the rate.
        learning_rate: a number or a Keras schedule; None keeps the optimizer's.
        where: how to call the model.

    Raises:
        ModelError: it is not compiled and no loss is named, or compiling it fails.
        SaldiagError: there is no such loss or optimizer.
    """
    compiled = bool(getattr(model, "compiled", False))
    if not compiled and loss is None:
        raise ModelError(
            f"{where}: the model is not compiled: compile it where it is built, or say --loss"
            " (mse, bce, sparse_categorical_crossentropy, FILE.py:FUNCTION, …)"
        )
    if not compiled or (loss, optimizer, learning_rate) != (None, None, None):
        chosen = loss_of(loss) if loss is not None else model.loss
        with user_errors_as(ModelError, where):
            model.compile(
                optimizer=optimizer_of(model, optimizer, learning_rate),
                loss=chosen,
                jit_compile=False,
            )
    model.jit_compile = False  # under XLA gradients cannot be watched


def loss_of(spec: str) -> Any:
    """A loss by its name, ours or Keras', or from ``MODULE:NAME`` or ``FILE.py:NAME``.

    Raises:
        SaldiagError: there is no such loss.
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
        hint = _suggested(spec, keras.losses, LOSSES)
        raise SaldiagError(f"no loss is called {printable(repr(spec))}: {hint}") from error


def optimizer_of(model: Any, name: str | None, learning_rate: Any) -> Any:
    """The named optimizer; or a fresh one of the kind that the model has, Adam where it has none.

    Raises:
        SaldiagError: there is no such optimizer, or it has a schedule that a rate cannot replace.
    """
    own = getattr(model, "optimizer", None)
    if name is None and own is not None:
        fresh = type(own).from_config(own.get_config())
        return fresh if learning_rate is None else _at_rate(fresh, learning_rate)
    try:
        kind = type(keras.optimizers.get(name or "adam"))
    except ValueError as error:
        hint = _suggested(name or "", keras.optimizers, ())
        raise SaldiagError(f"no optimizer is called {printable(repr(name))}: {hint}") from error
    return kind() if learning_rate is None else kind(learning_rate=learning_rate)


def _at_rate(optimizer: Any, learning_rate: Any) -> Any:
    try:
        optimizer.learning_rate = learning_rate
    except TypeError as error:
        raise SaldiagError(
            "--learning-rate: the model's optimizer has a schedule, which a number cannot replace:"
            " --optimizer NAME takes a fresh one"
        ) from error
    return optimizer


def _suggested(wrong: str, module: Any, first: tuple[str, ...]) -> str:
    names = [name for name in dir(module) if name[0] != "_" and callable(getattr(module, name))]
    hidden = {"get", "serialize", "deserialize", "Loss", "Optimizer", "LossScaleOptimizer"}
    known = [*first, *(name.lower() for name in names if name not in hidden)]
    return suggestion(wrong, list(dict.fromkeys(known)))
