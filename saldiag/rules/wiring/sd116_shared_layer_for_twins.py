"""SD116: one layer is shared where several layers were intended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, label, listed, number
from saldiag.rules.shared.graph import Network

WEIGHTED = frozenset({
    "Bidirectional", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Dense",
    "DepthwiseConv2D", "EinsumDense", "Embedding", "GRU", "LSTM", "MultiHeadAttention",
    "SeparableConv2D", "SimpleRNN",
})  # fmt: skip
SPATIAL = ("AveragePooling", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "MaxPooling",
           "UpSampling", "ZeroPadding")  # fmt: skip
DETERMINISTIC = WEIGHTED | {
    "Activation", "BatchNormalization", "ELU", "Flatten", "GroupNormalization",
    "LayerNormalization", "LeakyReLU", "Normalization", "PReLU", "Permute", "RMSNormalization",
    "ReLU", "Rescaling", "Reshape", "Softmax", "UnitNormalization",
    *(f"{name}{rank}D" for name in SPATIAL for rank in (1, 2, 3)),
}  # fmt: skip
"""Layers that return equal outputs for equal inputs; a custom layer can draw random numbers."""
RANDOM = ("Dropout", "Noise", "Random")


class SharedLayerForTwins(Rule):
    """One layer, with one set of weights, is used where several layers were intended.

    ## What it does
    Finds two calls of one layer with the same input whose outputs meet again in a sum, a
    concatenation or any other call: the two outputs are equal. Layers in between are followed as
    long as they are equal too, and no dropout or custom layer can make the outputs differ. Also
    reports, as an info, a layer that is called repeatedly on its own output with no other input,
    which repeats one layer instead of making the network deeper. Calls with different inputs
    (siamese networks) and recurrences that read an input at each step are not reported.

    ## Why is this bad
    Two branches that share everything give the same features twice. A loop over one layer has the
    weights of a single layer. Both happen if the layer is created outside of the loop.

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
    - `row` = 3: calls of one layer in a row that are reported as an info (our choice: shared
      weights can be intended, as in Dehghani et al., Universal Transformers, 2019).
    - `twins` = 2: calls of one layer with the same input whose outputs meet; exact.
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
            and (meeting := _meeting_call(network, call.repeats, call.path))
        ]
        if len(twins) + 1 >= limits["twins"] and twins:
            yield self._finding_of_twins(measured, twins, limits["twins"])
        row = max(_repeated_calls(network), key=len, default=())
        if len(row) >= limits["row"]:
            yield self._finding_of_row(measured, row, limits["row"])

    def _finding_of_twins(
        self, measured: Measurements, twins: Sequence[tuple[LayerCall, str]], threshold: float
    ) -> Finding:
        layers = tuple(dict.fromkeys(call.layer for call, _ in twins))
        source = source_of(measured, layers[0])
        calls = 1 + sum(call.layer == layers[0] for call, _ in twins)
        return self.finding(
            f"{listed(layers)}: called {calls} times with the same input (threshold "
            f"{number(threshold)}); the outputs are equal and meet in {label(twins[0][1])}. "
            f"Create a separate layer for each branch{at_line(source)}",
            "branches = [make_branch() for _ in range(2)]  # a new layer for each branch",
            layers=layers,
            evidence={"calls": calls, "meeting": twins[0][1], "threshold": threshold},
            source=source,
        )

    def _finding_of_row(
        self, measured: Measurements, row: Sequence[str], threshold: float
    ) -> Finding:
        layer = row[0].partition("#")[0]
        source = source_of(measured, layer)
        return self.finding(
            f"{label(layer)}: called {len(row)} times in a row on its own output (threshold "
            f"{number(threshold)}), which adds depth but no weights. Create a new layer for each "
            f"call, unless shared weights are intended{at_line(source)}",
            "blocks = [make_block() for _ in range(3)]  # a new layer for each call",
            layers=(layer,),
            evidence={"calls": len(row), "threshold": threshold},
            source=source,
            severity="info",
            confidence=0.6,
        )


def _is_random(call: LayerCall) -> bool:
    rates = (call.config.get("dropout"), call.config.get("recurrent_dropout"))
    return any(word in call.kind for word in RANDOM) or any(rates)


def _meeting_call(network: Network, first: str, second: str) -> str:
    """The call that takes both outputs while they are still equal; empty if there is none."""
    for _ in network.leaves:  # no path is longer
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
        same = one.kind in DETERMINISTIC and one.config == other.config and not _is_random(one)
        if not alike or not alone or not same:
            return ""
    return ""


def _repeated_calls(network: Network) -> list[tuple[str, ...]]:
    """For each layer called on its own output, its calls.

    Between the calls there are only shared layers or layers without weights.
    """
    uses: dict[str, list[str]] = defaultdict(list)
    for call in network.leaves.values():
        uses[call.layer].append(call.path)
    rows = []
    for paths in uses.values():
        first = network.leaves[paths[0]]
        if len(paths) > 1 and first.kind in WEIGHTED and first.parameters:
            chained = (_depends_only_on(network, uses, a, b) for a, b in pairwise(paths))
            if all(chained):
                rows.append(tuple(paths))
    return rows


def _depends_only_on(network: Network, uses: dict[str, list[str]], first: str, second: str) -> bool:
    """Whether the output of ``first`` is the only input of ``second``, directly or indirectly."""
    path = second
    for _ in network.leaves:  # no path is longer
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
