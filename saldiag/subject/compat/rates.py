"""The learning rate of Keras 2: ``lr``, with ``decay`` on top of it."""

from __future__ import annotations

from typing import Any

from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag.subject.compat.entries import Call, OnUse

_SETTABLE_MARK = "_saldiag_rate"
"""Marks a schedule that was made here: its first rate is a variable that can be set."""


def translate_lr(call: Call, rate: Any) -> None:
    """``lr=``: today a whole number is refused."""
    call.kwargs["learning_rate"] = float(rate) if isinstance(rate, int) else rate


def translate_decay(call: Call, decay: Any) -> None:
    """``decay=``: the rate in step t is ``rate / (1 + decay * t)``, as Keras 2 had it.

    Optimizers call their base class by keyword. A rate that is a schedule never decayed on top.
    """
    rate = call.kwargs.get("learning_rate")
    if decay and isinstance(rate, (int, float)):
        call.kwargs["learning_rate"] = _decay_schedule(float(rate), float(decay))


def _decay_schedule(rate: float, decay: float) -> Any:
    """Keras' own schedule, so that a saved model can be read anywhere."""
    import keras

    schedule = keras.optimizers.schedules.InverseTimeDecay(rate, 1, decay)
    variable = keras.Variable(rate, trainable=False, name="learning_rate")
    told = schedule.get_config

    def get_config() -> dict[str, Any]:
        return {**told(), "initial_learning_rate": float(keras.ops.convert_to_numpy(variable))}

    schedule.initial_learning_rate = variable
    schedule.get_config = get_config
    setattr(schedule, _SETTABLE_MARK, True)
    return schedule


def get_lr(optimizer: Any) -> Any:
    """``optimizer.lr``: the variable, before any decay."""
    own = learning_rate_setting(optimizer)
    return (
        own.initial_learning_rate
        if getattr(own, _SETTABLE_MARK, False)
        else optimizer.learning_rate
    )


def set_lr(optimizer: Any, rate: Any) -> None:
    """``optimizer.lr = rate``."""
    optimizer.learning_rate = rate


def wrap_learning_rate(original: Any, _tell: OnUse) -> property:
    """``optimizer.learning_rate`` with a setter that goes below a decay that was made here."""

    def put(optimizer: Any, rate: Any) -> None:
        own = learning_rate_setting(optimizer)
        if getattr(own, _SETTABLE_MARK, False) and not callable(rate):
            own.initial_learning_rate.assign(rate)
        else:
            original.fset(optimizer, rate)

    return property(original.fget, put, doc=original.__doc__)
