"""SD114: all that is known of a sample goes through one number, and must tell several classes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import axis_size
from saldiag.rules.shared.wording import at, label

NARROWING = frozenset({"Conv1D", "Conv2D", "Conv3D", "Dense", "GRU", "LSTM", "SimpleRNN"})
CATEGORICAL = frozenset({"categorical_crossentropy", "sparse_categorical_crossentropy"})


class OneNumberForSeveralClasses(Rule):
    """A hidden layer leaves one number of each sample, out of which several classes are told.

    ## What it does
    Follows the only way back from the output of a classifier, as long as each layer has one input,
    and looks for a hidden layer that makes a single number out of many. Two units and more are left
    alone, narrow as they can be: two-dimensional embeddings are drawn that way on purpose, and so
    are the codes of autoencoders. Ways around the layer (skips, other inputs) excuse it.

    ## Why is this bad
    The logits of all classes are then linear in one number, so the classes must lie on a line, one
    after the other. What the layers before know beyond that is thrown away, and one relu that dies
    takes all with it.

    ## Example
    ```python
    x = keras.layers.Dense(1, activation="relu")(x)
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64, activation="relu")(x)
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    ```

    ## Threshold
    - `classes` = 3: classes from which on one number is too little; two are told by its sign. The
      rank of the logits is at most the width of the layer before them, plus one for the bias (Yang
      et al., Breaking the Softmax Bottleneck, 2018).
    """

    code = "SD114"
    name = "one-number-for-several-classes"
    severity = "warning"
    by_loss = True
    requires = (Wiring,)
    thresholds = {"classes": 3}
    explains = {
        "SD201": "anywhere", "SD301": "same_layer", "SD302": "anywhere", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.loss not in CATEGORICAL:
            return
        network = Network(wiring)
        for head in network.heads():
            classes, narrow = axis_size(head) or 0, _narrow(network, head)
            if narrow is not None and classes >= limits["classes"]:
                yield self._narrow(measured, narrow, classes, limits)

    def _narrow(
        self, measured: Measurements, call: LayerCall, classes: int, limits: Thresholds
    ) -> Finding:
        source = source_of(measured, call.layer)
        return self.finding(
            f"{label(call.layer)}: makes 1 number of {_size(call.input_shapes[0])}, and {classes} "
            f"classes are told from it alone (threshold {limits['classes']:.0f} classes). "
            f"Give it more units{at(source)}",
            f"units=64  # in {label(call.layer)}",
            layers=(call.layer,),
            evidence={"units": 1, "classes": classes, "threshold": limits["classes"]},
            source=source,
        )


def _narrow(network: Network, head: LayerCall) -> LayerCall | None:
    """A layer on the only way to ``head`` that leaves a single number of each sample."""
    call = head
    for _ in network.leaves:  # no path is longer than that
        if len(call.inputs) != 1 or call.inputs[0] not in network.leaves:
            return None
        call = network.leaves[call.inputs[0]]
        if not call.input_shapes or not call.output_shapes or call.kind not in NARROWING:
            continue
        if _size(call.output_shapes[0]) == 1 and (_size(call.input_shapes[0]) or 0) > 1:
            return call
    return None


def _size(shape: tuple[int | None, ...]) -> int | None:
    """Numbers of one sample; None where an axis is not fixed."""
    sizes = [size for size in shape[1:] if size is not None]
    return math.prod(sizes) if len(sizes) == len(shape) - 1 else None
