"""The layers that produce the outputs, and the logits that Keras 3 takes from behind them."""

from __future__ import annotations

from saldiag.core.measurement import LayerCall, TensorFacts, Wiring
from saldiag.rules.shared.graph import Network

SQUASHING = frozenset({"sigmoid", "softmax"})
CROSS_ENTROPIES = frozenset(
    {"binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"}
)

RANGES: dict[str, tuple[float, float]] = {
    "hard_sigmoid": (0.0, 1.0),
    "relu": (0.0, float("inf")),
    "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "softplus": (0.0, float("inf")),
    "softsign": (-1.0, 1.0),
    "tanh": (-1.0, 1.0),
}
"""Lowest and highest output of an activation for any input."""


def from_logits(wiring: Wiring) -> bool:
    """Whether the loss is configured with ``from_logits=True``."""
    return bool(wiring.loss_config.get("from_logits", False))


def weighs_classes(wiring: Wiring, target: TensorFacts) -> bool:
    """Whether each target is a weight of a single class: the action taken, times its return.

    This is how a cross-entropy computes policy gradients (Williams, Simple statistical
    gradient-following algorithms, 1992). Labels on a wrong scale have the same value everywhere.
    """
    return wiring.loss == "categorical_crossentropy" and target.single and target.distinct > 2


def takes_logits_behind(wiring: Wiring) -> bool:
    """Whether Keras 3 computes the loss from the input of the output layer's activation.

    Keras' softmax and sigmoid store their input on the output tensor, and its cross-entropies use
    it, whichever activation it was and whatever ``from_logits`` is
    (``keras/src/backend/tensorflow/nn.py``, ``_get_logits``). Any layer in between, even a Reshape,
    prevents this.
    """
    network = Network(wiring)
    last = [network.leaves[path] for path in network.judged]
    return (
        wiring.loss in CROSS_ENTROPIES
        and bool(last)
        and network.computed.isdisjoint(network.judged)
        and all(call.activation in SQUASHING for call in last)
    )


def axis_size(call: LayerCall) -> int | None:
    """Size of the axis that the call's softmax runs over.

    None if it is not fixed, or if the softmax runs over several axes.
    """
    if not call.output_shapes or not call.output_shapes[0]:
        return None
    shape = call.output_shapes[0]
    axes = call.config.get("axis")
    if isinstance(axes, (list, tuple)) and len(axes) > 1:
        return None
    axis = len(shape) - 1 if call.axis is None else call.axis
    return shape[axis] if -len(shape) <= axis < len(shape) else None
