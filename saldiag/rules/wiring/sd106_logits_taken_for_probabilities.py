"""SD106: the loss treats logits as probabilities."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, compile_source
from saldiag.core.measurement import DataFacts, Measurements, TensorFacts, Wiring
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES, from_logits


class LogitsTakenForProbabilities(Rule):
    """A cross-entropy that expects probabilities gets values outside [0, 1].

    ## What it does
    Checks whether the model's predictions leave [0, 1] under a cross-entropy with
    ``from_logits=False``.

    ## Why is this bad
    Keras clips predictions to [1e-7, 1 - 1e-7] before the logarithm. A value outside that range has
    a gradient of exactly 0 (binary), or is divided by a sum that can be 0 or negative
    (categorical).

    ## Example
    ```python
    outputs = keras.layers.Dense(1)(x)
    model.compile(loss="binary_crossentropy")
    ```

    ## Use instead
    ```python
    outputs = keras.layers.Dense(1)(x)
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    ```

    ## Threshold
    - `margin` = 0.001: distance from [0, 1], above the rounding of float16 at 1 (2^-11; IEEE 754,
      2019).
    """

    code = "SD106"
    name = "logits-taken-for-probabilities"
    severity = "error"
    by_loss = True
    requires = (Wiring, DataFacts)
    thresholds = {"margin": 0.001}
    explains = {
        "SD103": "anywhere",
        "SD201": "anywhere",
        "SD204": "anywhere",
        "SD705": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(DataFacts)
        if wiring.loss not in CROSS_ENTROPIES or from_logits(wiring):
            return
        network = Network(wiring)
        for index, predicted in enumerate(facts.predictions):
            if network.ignored.intersection(network.judged[index : index + 1]):
                continue  # the loss doesn't use this output
            outside = _distance_from_unit_interval(predicted)
            if outside > limits["margin"]:
                yield self._finding_of_output(measured, index, predicted, outside, limits)

    def _finding_of_output(
        self,
        measured: Measurements,
        index: int,
        predicted: TensorFacts,
        outside: float,
        limits: Thresholds,
    ) -> Finding:
        wiring = measured.need(Wiring)
        network = Network(wiring)
        layers = [network.leaves[path].layer for path in network.judged[index : index + 1]]
        source = compile_source(measured, layers[0] if layers else None)
        return self.finding(
            f"{label(layers[0] if layers else predicted.name)}: the outputs range from "
            f"{number(predicted.minimum)} to {number(predicted.maximum)}, up to {number(outside)} "
            f"outside [0, 1] (threshold {number(limits['margin'])}), but {label(wiring.loss)} "
            f"expects probabilities. Use from_logits=True{at_line(source)}",
            "from_logits=True  # in the loss given to compile()",
            layers=layers,
            evidence={
                "minimum": predicted.minimum,
                "maximum": predicted.maximum,
                "outside": outside,
                "threshold": limits["margin"],
            },
            source=source,
            edits=_certain_edits(measured, network),
        )


def _distance_from_unit_interval(predicted: TensorFacts) -> float:
    return max(-predicted.minimum, predicted.maximum - 1.0)


def _certain_edits(measured: Measurements, network: Network) -> edits.Edits:
    """``from_logits=True``, if a linear layer makes the only output and the targets are labels."""
    heads, targets = network.heads(), measured.need(DataFacts).targets
    linear = len(network.outputs) == len(heads) == 1 and heads[0].activation in (None, "linear")
    if not linear or len(targets) != 1 or not _are_labels(measured.need(Wiring).loss, targets[0]):
        return ()
    return edits.from_logits(measured, True)


def _are_labels(loss: str, target: TensorFacts) -> bool:
    sparse = loss == "sparse_categorical_crossentropy"
    return target.minimum >= 0 and (sparse or target.maximum <= 1)
