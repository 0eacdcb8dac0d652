"""The case: Convf2 with softmax over its one channel, followed by another softmax."""

from __future__ import annotations

from saldiag.core.measurement import Measurements, RecordedWarning, Source, WarningLog
from tests.support.measurements import (
    CALLS,
    MASK,
    VARIABLES,
    activation_row,
    activations,
    call,
    data,
    flow,
    flow_row,
    gradients,
    healthy,
    overfit,
    tensor,
    wiring,
)


def _calls(activation: str, kind: str):
    return (
        *CALLS[:4],
        call("Convf2", "Conv2D", "encoder/relu", parameters=145, output_shapes=(MASK,),
             activation=activation if kind == "twice" else None,
             axis=3 if activation == "softmax" else None, source=Source("quicksal/model.py", 88)),
        call("softmax_output", "Activation", "Convf2", activation=activation,
             axis=3 if activation == "softmax" else None, output_shapes=(MASK,)),
    )  # fmt: skip


def broken() -> Measurements:
    nothing = dict.fromkeys(VARIABLES, 0.0)
    inner = [flow_row(c.path, c.kind, 0.0, 0.0) for c in CALLS[1:4]]
    rows = (*inner, flow_row("Convf2", "Conv2D", 0.0, 0.0),
            flow_row("softmax_output", "Activation", 0.41, 0.0))  # fmt: skip
    one = {"minimum": 1.0, "maximum": 1.0, "mean": 1.0, "std": 0.0, "sample_variation": 0.0}
    return healthy(
        wiring(*_calls("softmax", "twice")),
        flow(nothing, rows=rows),
        gradients(nothing),
        activations(
            *(activation_row(c.path) for c in CALLS[1:4]),
            activation_row("Convf2", activation="softmax", **one),
            activation_row("softmax_output", activation="softmax", **one),
        ),
        data(predictions=(tensor("softmax_output", 1.0, 1.0),)),
        overfit(
            [0.7] * 4, checked=_array(0, 3), training_error=_array(0.7, 0.7),
            inference_error=_array(0.7, 0.7), recalibrated_error=0.7, prediction_variation=0.0,
            no_gradient=True, stopped="no gradient",
        ),
        WarningLog((
            RecordedWarning(
                "UserWarning",
                "You are using a softmax over axis 3 of a tensor of shape (8, 8, 8, 1). This axis "
                "has size 1. The softmax operation will always return the value 1, which is likely "
                "not what you intended. Did you mean to use a sigmoid instead?",
                "quicksal/model.py", 88, True, 2, Source("quicksal/silenced.py", 7),
            ),
        )),
    )  # fmt: skip


def _array(*values: float):
    import numpy as np

    return np.array(values)


def fixed() -> Measurements:
    return healthy(wiring(*_calls("sigmoid", "once")))
