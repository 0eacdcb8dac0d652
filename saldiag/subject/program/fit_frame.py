"""Reading the arguments of a running ``fit`` call, which Keras does not pass to callbacks."""

from __future__ import annotations

import inspect
import types
from typing import Any

from saldiag.core.keras_types import KerasModel

FIT_ARGUMENTS = (
    "x", "y", "sample_weight", "class_weight", "batch_size", "epochs", "initial_epoch",
    "steps_per_epoch", "shuffle", "callbacks", "validation_data", "validation_batch_size",
)  # fmt: skip


def arguments_of_fit(model: KerasModel) -> dict[str, Any] | None:
    """Arguments of the ``model.fit`` call that runs in this thread, by name; None if there is none.

    They are the values that Keras works with: the items that ``validation_split`` holds back are
    in ``validation_data`` already. A generator among them must not be read: ``fit`` reads it too.
    """
    frame = inspect.currentframe()
    try:
        while frame is not None:
            if _is_fit_frame(frame, model):
                values = frame.f_locals
                return {name: values[name] for name in FIT_ARGUMENTS if name in values}
            frame = frame.f_back
        return None
    finally:
        del frame  # a reference would keep all its local variables alive


def _is_fit_frame(frame: types.FrameType, model: KerasModel) -> bool:
    code = frame.f_code
    return (
        code.co_name == "fit"
        and code.co_argcount > 1
        and frame.f_locals.get(code.co_varnames[0]) is model
        and "x" in frame.f_locals
    )
