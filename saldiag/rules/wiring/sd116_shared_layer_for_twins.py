"""SD116: one layer is used where several were meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, label, listed, number

WEIGHTED = frozenset({
    "Bidirectional", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Dense",
    "DepthwiseConv2D", "EinsumDense", "Embedding", "GRU", "LSTM", "MultiHeadAttention",
    "SeparableConv2D", "SimpleRNN",
})  # fmt: skip
OF_SPACE = ("AveragePooling", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "MaxPooling",
            "UpSampling", "ZeroPadding")  # fmt: skip
DETERMINED = WEIGHTED | {
    "Activation", "BatchNormalization", "ELU", "Flatten", "GroupNormalization",
    "LayerNormalization", "LeakyReLU", "Normalization", "PReLU", "Permute", "RMSNormalization",
    "ReLU", "Rescaling", "Reshape", "Softmax", "UnitNormalization",
    *(f"{name}{rank}D" for name in OF_SPACE for rank in (1, 2, 3)),
}  # fmt: skip
"""Layers that give the same for the same; one of the user's own can draw random numbers."""
RANDOM = ("Dropout", "Noise", "Random")


class SharedLayerForTwins(Rule):
    """One layer, with one set of weights, stands where several layers were meant.

    ## What it does
    Finds two calls of one layer with the very same tensors whose results meet again, in a sum, a
    concatenation or any other call: they are equal, number by number. Equal layers in between are
    followed as long as they are shared too, and as long as no dropout, nor a layer of the user's
    own, can tell the two apart. As a note, it also names a layer that is called over and over on
    its own result, with nothing else coming in: that is one layer several times, and not a deep
    network. Twins with different inputs (siamese networks) and recurrences that read an input at
    each step are left alone.

    ## Why is this bad
    Two branches that share everything give the same features twice; a loop over one layer has the
    weights of a single one. Both come from a layer that was made outside of the loop.

    ## Example
    ```python
    branch = keras.layers.Conv2D(16, 3, padding="same")
    x = keras.layers.Concatenate()([branch(x), branch(x)])
    ```

    ## Use instead
    ```python
    branches = [keras.layers.Conv2D(16, 3, padding="same") for _ in range(2)]
    x = keras.layers.Concatenate()([branch(x) for branch in branches])
    ```

    ## Threshold
    - `row` = 3: calls of one layer in a row that are worth a note (own choice: weights that are
      shared in depth can be meant, as in Dehghani et al., Universal Transformers, 2019).
    - `twins` = 2: calls of one layer with the same tensors whose results meet; exact.
    """

    code = "SD116"
    name = "shared-layer-for-twins"
    severity = "warning"
    requires = (Wiring,)
    thresholds = {"twins": 2, "row": 3}
    explains = {"SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        network = Network(measured.need(Wiring))
        twins = [
            (call, meeting)
            for call in network.leaves.values()
            if call.kind in WEIGHTED
            and call.parameters
            and not _is_random(call)
            and call.repeats in network.leaves
            and (meeting := _meeting(network, call.repeats, call.path))
        ]
        if len(twins) + 1 >= limits["twins"] and twins:
            yield self._twins(measured, twins, limits["twins"])
        row = max(_rows(network), key=len, default=())
        if len(row) >= limits["row"]:
            yield self._row(measured, row, limits["row"])

    def _twins(
        self, measured: Measurements, twins: Sequence[tuple[LayerCall, str]], threshold: float
    ) -> Finding:
        layers = tuple(dict.fromkeys(call.layer for call, _ in twins))
        source = source_of(measured, layers[0])
        calls = 1 + sum(call.layer == layers[0] for call, _ in twins)
        return self.finding(
            f"{listed(layers)}: called {calls} times with the same input (threshold "
            f"{number(threshold)}), and the results, which are equal, meet in "
            f"{label(twins[0][1])}. Make a layer of its own for each branch{at(source)}",
            "branches = [make_branch() for _ in range(2)]  # a new layer at each turn",
            layers=layers,
            evidence={"calls": calls, "meeting": twins[0][1], "threshold": threshold},
            source=source,
        )

    def _row(self, measured: Measurements, row: Sequence[str], threshold: float) -> Finding:
        layer = row[0].partition("#")[0]
        source = source_of(measured, layer)
        return self.finding(
            f"{label(layer)}: called {len(row)} times in a row on its own result (threshold "
            f"{number(threshold)}): that many layers deep, with the weights of one. Make a new "
            f"layer at each turn, unless shared weights are meant{at(source)}",
            "blocks = [make_block() for _ in range(3)]  # a new layer at each turn",
            layers=(layer,),
            evidence={"calls": len(row), "threshold": threshold},
            source=source,
            severity="info",
            confidence=0.6,
        )


def _is_random(call: LayerCall) -> bool:
    rates = (call.config.get("dropout"), call.config.get("recurrent_dropout"))
    return any(word in call.kind for word in RANDOM) or any(rates)


def _meeting(network: Network, first: str, second: str) -> str:
    """The call that takes the results of both, as long as they are equal; or an empty text."""
    for _ in network.leaves:  # no way is longer than that
        after, beside = network.consumers(first), network.consumers(second)
        both = [path for path in after if path in beside]
        if both:
            return both[0]
        if len(after) != 1 or len(beside) != 1:
            return ""
        first, second = after[0], beside[0]
        one, other = network.leaves[first], network.leaves[second]
        alike = one.layer == other.layer or (one.kind == other.kind and not one.parameters)
        alone = len(one.inputs) == 1 and len(other.inputs) == 1
        same = one.kind in DETERMINED and one.config == other.config and not _is_random(one)
        if not alike or not alone or not same:
            return ""
    return ""


def _rows(network: Network) -> list[tuple[str, ...]]:
    """Calls of one layer that follow each other with nothing but shared or plain layers between."""
    uses: dict[str, list[str]] = defaultdict(list)
    for call in network.leaves.values():
        uses[call.layer].append(call.path)
    rows = []
    for paths in uses.values():
        first = network.leaves[paths[0]]
        if len(paths) > 1 and first.kind in WEIGHTED and first.parameters:
            chained = (_follows(network, uses, a, b) for a, b in pairwise(paths))
            if all(chained):
                rows.append(tuple(paths))
    return rows


def _follows(network: Network, uses: dict[str, list[str]], first: str, second: str) -> bool:
    """Whether ``second`` gets what ``first`` gives, and nothing else."""
    path = second
    for _ in network.leaves:
        inputs = network.leaves[path].inputs
        if len(inputs) != 1 or inputs[0] not in network.leaves:
            return False
        path = inputs[0]
        call = network.leaves[path]
        if path == first:
            return True
        if call.parameters and len(uses[call.layer]) < 2:
            return False
    return False
