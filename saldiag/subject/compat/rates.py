"""The optimizer arguments ``lr`` and ``decay`` of Keras 2."""

from __future__ import annotations

from typing import Any

from saldiag.keras_internals.optimizers import learning_rate_setting
from saldiag.subject.compat.entries import Call, OnUse

_SETTABLE_MARK = "_saldiag_rate"
"""Attribute that marks a schedule created here: its initial rate is a variable that can be set."""


def translate_lr(call: Call, rate: Any) -> None:
    """Translate ``lr=``; an integer becomes a float, because Keras 3 refuses integers."""
    call.kwargs["learning_rate"] = float(rate) if isinstance(rate, int) else rate


def translate_decay(call: Call, decay: Any) -> None:
    """Translate ``decay=``: the rate in step t is ``rate / (1 + decay * t)``, as in Keras 2.

    Optimizers pass the rate to their base class by keyword. Keras 2 ignored ``decay`` if the rate
    was a schedule.
    """
    rate = call.kwargs.get("learning_rate")
    if decay and isinstance(rate, (int, float)):
        call.kwargs["learning_rate"] = _decay_schedule(float(rate), float(decay))


def _decay_schedule(rate: float, decay: float) -> Any:
    """One of Keras' own schedules, because a saved model must load without saldiag."""
    import keras

    schedule = keras.optimizers.schedules.InverseTimeDecay(rate, 1, decay)
    variable = keras.Variable(rate, trainable=False, name="learning_rate")
    original_config = schedule.get_config

    def get_config() -> dict[str, Any]:
        return {
            **original_config(),
            "initial_learning_rate": float(keras.ops.convert_to_numpy(variable)),
        }

    schedule.initial_learning_rate = variable
    schedule.get_config = get_config
    setattr(schedule, _SETTABLE_MARK, True)
    return schedule


def get_lr(optimizer: Any) -> Any:
    """``optimizer.lr``: the rate's variable, without decay."""
    setting = learning_rate_setting(optimizer)
    return (
        setting.initial_learning_rate
        if getattr(setting, _SETTABLE_MARK, False)
        else optimizer.learning_rate
    )


def set_lr(optimizer: Any, rate: Any) -> None:
    """``optimizer.lr = rate``."""
    optimizer.learning_rate = rate


def wrap_learning_rate(original: Any, _on_use: OnUse) -> property:
    """``optimizer.learning_rate`` whose setter sets the initial rate of a ``decay=`` schedule."""

    def set_learning_rate(optimizer: Any, rate: Any) -> None:
        setting = learning_rate_setting(optimizer)
        if getattr(setting, _SETTABLE_MARK, False) and not callable(rate):
            setting.initial_learning_rate.assign(rate)
        else:
            original.fset(optimizer, rate)

    return property(original.fget, set_learning_rate, doc=original.__doc__)
