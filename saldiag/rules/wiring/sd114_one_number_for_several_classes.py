"""SD114: several classes are predicted from one number per sample."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, label
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import axis_size

NARROWING = frozenset({"Conv1D", "Conv2D", "Conv3D", "Dense", "GRU", "LSTM", "SimpleRNN"})
CATEGORICAL = frozenset({"categorical_crossentropy", "sparse_categorical_crossentropy"})


class OneNumberForSeveralClasses(Rule):
    """A hidden layer reduces each sample to one number, from which several classes are predicted.

    ## What it does
    Goes back from the output of a classifier as long as each layer has one input, and looks for a
    hidden layer that reduces several numbers to one. Two units or more are not reported:
    two-dimensional embeddings and the codes of autoencoders are narrow on purpose. Paths around the
    layer (skip connections, other inputs) end the search.

    ## Why is this bad
    The logits of all classes are linear in one number, and the classes must lie on a line, one
    after the other. Everything else that the earlier layers know is lost, and a single dead relu
    loses all of it.

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
    - `classes` = 3: fewest classes for which one number is too little; its sign is enough for two.
      The rank of the logits is at most the width of the layer before them, plus one for the bias
      (Yang et al., Breaking the Softmax Bottleneck, 2018).
    """

    code = "SD114"
    name = "one-number-for-several-classes"
    severity = "warning"
    by_loss = True
    requires = (Wiring,)
    thresholds = {"classes": 3}
    explains = {
        "SD201": "anywhere",
        "SD301": "same_layer",
        "SD302": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.loss not in CATEGORICAL:
            return
        network = Network(wiring)
        for head in network.heads():
            classes, narrow = axis_size(head) or 0, _one_number_layer(network, head)
            if narrow is not None and classes >= limits["classes"]:
                yield self._finding_of_layer(measured, narrow, classes, limits)

    def _finding_of_layer(
        self, measured: Measurements, call: LayerCall, classes: int, limits: Thresholds
    ) -> Finding:
        source = source_of(measured, call.layer)
        width = "filters" if call.kind.startswith("Conv") else "units"
        return self.finding(
            f"{label(call.layer)}: squeezes {_numbers_per_sample(call.input_shapes[0])} numbers "
            f"into 1, from which {classes} classes must be predicted (threshold "
            f"{limits['classes']:.0f} classes). Give it more {width}{at_line(source)}",
            f"{width}=64  # in {label(call.layer)}",
            layers=(call.layer,),
            evidence={"units": 1, "classes": classes, "threshold": limits["classes"]},
            source=source,
        )


def _one_number_layer(network: Network, head: LayerCall) -> LayerCall | None:
    """The layer on the only path to ``head`` that outputs a single number per sample."""
    call = head
    for _ in network.leaves:  # no path is longer
        if len(call.inputs) != 1 or call.inputs[0] not in network.leaves:
            return None
        call = network.leaves[call.inputs[0]]
        if not call.input_shapes or not call.output_shapes or call.kind not in NARROWING:
            continue
        single = _numbers_per_sample(call.output_shapes[0]) == 1
        if single and (_numbers_per_sample(call.input_shapes[0]) or 0) > 1:
            return call
    return None


def _numbers_per_sample(shape: tuple[int | None, ...]) -> int | None:
    """The product of all axes but the batch; None where one is not fixed."""
    sizes = [size for size in shape[1:] if size is not None]
    return math.prod(sizes) if len(sizes) == len(shape) - 1 else None
