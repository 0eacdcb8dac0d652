"""What the model's outputs are made by, and what Keras 3 makes good by itself."""

from __future__ import annotations

from saldiag.core.measurement import LayerCall, TensorFacts, Wiring
from saldiag.rules.shared.graph import Network

SQUASHING = frozenset({"sigmoid", "softmax"})
CROSS_ENTROPIES = frozenset({
    "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
})  # fmt: skip

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
"""What comes out of an activation, whatever goes in."""


def from_logits(wiring: Wiring) -> bool:
    """Whether the loss is told that it gets logits."""
    return bool(wiring.loss_config.get("from_logits", False))


def weighs_classes(wiring: Wiring, target: TensorFacts) -> bool:
    """Whether the targets are weights of one class each: an action, times what it was worth.

    That is how policy gradients are taken by a cross-entropy (Williams, Simple statistical
    gradient-following algorithms, 1992). Labels on a wrong scale have the same value in each place.
    """
    return wiring.loss == "categorical_crossentropy" and target.single and target.distinct > 2


def takes_logits_behind(wiring: Wiring) -> bool:
    """Whether Keras 3 computes the loss from what lies *behind* the output's activation.

    Keras' softmax and sigmoid leave their input on the output tensor, and its cross-entropies take
    it from there, whichever of the two it was and whatever ``from_logits`` says
    (``keras/src/backend/tensorflow/nn.py``, ``_get_logits``). Any layer in between, even a Reshape,
    ends that.
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
    """The size of the axis that the call's softmax runs over.

    ``None`` where it is not fixed, or where the softmax runs over several axes.
    """
    if not call.output_shapes or not call.output_shapes[0]:
        return None
    shape = call.output_shapes[0]
    axes = call.config.get("axis")
    if isinstance(axes, (list, tuple)) and len(axes) > 1:
        return None
    axis = len(shape) - 1 if call.axis is None else call.axis
    return shape[axis] if -len(shape) <= axis < len(shape) else None
