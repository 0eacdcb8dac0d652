"""SD302: the same prediction for every input."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import (
    Activations,
    DataFacts,
    Measurements,
    OverfitHistory,
    TensorFacts,
    TrainableStatus,
    Wiring,
)
from saldiag.core.wording import at_line, label, listed, number
from saldiag.rules.shared.graph import Network
from saldiag.rules.verdicts.overfit import verdict_of


class ConstantOutput(Rule):
    """The model predicts the same output for every sample, although inputs and targets differ.

    ## What it does
    Measures the variation of the predictions across samples, relative to their overall spread, and
    names the first layer whose output is the same for all samples. If the overfit test ran, its
    final predictions count. Without the test, a constant output is only a warning, because an
    output layer whose weights start at zero is constant until the first step.

    An output that is constant only in inference mode is left to SD802 if BatchNorm's moving
    statistics lag. This is the case if the model memorises the samples in training mode and the
    error disappears with re-estimated statistics, or if the test had too few steps for the
    statistics and the output varied in training mode.

    ## Why is this bad
    A constant output cannot depend on the input. The best such model predicts the mean target.

    ## Example
    ```python
    x = keras.layers.Dense(1, activation="softmax")(x)  # 1.0, always
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(1, activation="sigmoid")(x)
    ```

    ## Threshold
    - `variation` = 1e-6: variation across samples divided by the overall spread. It is more than
      ten times the rounding error of float32 (2^-24; IEEE 754, 2019).
    - `target_variation` = 0.001: the same ratio for the targets, which must differ for a constant
      output to be wrong.
    - `recalibrated` = 0.5: share of the inference-mode error. If the error with re-estimated
      BatchNorm statistics is below it, the moving statistics merely lag (Ioffe & Szegedy, Batch
      Normalization, 2015, algorithm 2, estimate them in this way).
    - `held` = 0.5: share of their initial values that the moving statistics still hold (momentum to
      the power of the number of steps). Above it, they do not describe the data.
    """

    code = "SD302"
    name = "constant-output"
    severity = "error"
    requires = (DataFacts,)
    thresholds = {"variation": 1e-6, "target_variation": 0.001, "recalibrated": 0.5, "held": 0.5}
    explains = {"SD103": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts, history = measured.need(DataFacts), measured.get(OverfitHistory)
        if not any(_varies_across_samples(tensor, limits["variation"]) for tensor in facts.inputs):
            return
        if history is not None and _moving_statistics_lag(measured, history, limits):
            return
        for index, (predicted, target) in enumerate(
            zip(facts.predictions, facts.targets, strict=False)
        ):
            variation, trained = _variation_across_samples(predicted), False
            if history is not None and math.isfinite(history.prediction_variation):
                variation, trained = history.prediction_variation, len(history.loss) > 0
            differ = _varies_across_samples(target, limits["target_variation"])
            if differ and variation <= limits["variation"]:
                yield self._constant_output_finding(measured, index, variation, trained, limits)

    def _constant_output_finding(
        self,
        measured: Measurements,
        index: int,
        variation: float,
        trained: bool,
        limits: Thresholds,
    ) -> Finding:
        layers = _first_constant_layer(measured, index, limits["variation"])
        source = source_of(measured, layers[0]) if layers else None
        name = f"layer {label(layers[0])}" if layers else "the output layer"
        where = at_line(source)
        return self.finding(
            f"{listed(layers) if layers else f'output {index}'}: the same output for every sample, "
            f"variation {number(variation)} (threshold {number(limits['variation'])}), although "
            f"the targets differ. Check the weights, bias and activation of {name}{where}",
            f"Print the input and the output of {name} for two samples, and find where they become "
            "equal",
            layers=layers,
            evidence={"variation": variation, "threshold": limits["variation"], "trained": trained},
            source=source,
            severity="error" if trained else "warning",
            confidence=1.0 if trained else 0.7,
        )


def _moving_statistics_lag(
    measured: Measurements, history: OverfitHistory, limits: Thresholds
) -> bool:
    """Whether the output is constant only because BatchNorm's moving statistics lag."""
    if not len(history.loss) or not len(history.inference_error):
        return False
    recovers = history.recalibrated_error < limits["recalibrated"] * history.inference_error[-1]
    if recovers and verdict_of(history)[0] == "learns":
        return True
    status = measured.get(TrainableStatus)
    rows = status.normalization if status is not None else ()
    momentum = max((row.momentum for row in rows if row.training_mode), default=0.0)
    held = momentum ** len(history.loss)
    return held > limits["held"] and _output_varies_in_training_mode(measured, limits["variation"])


def _output_varies_in_training_mode(measured: Measurements, limit: float) -> bool:
    """Whether every measured output varies across samples in training mode."""
    activations, wiring = measured.get(Activations), measured.get(Wiring)
    if activations is None or wiring is None or not activations.training:
        return False
    rows = [row for row in activations.rows if row.path in wiring.outputs]
    return bool(rows) and all(row.sample_variation > limit for row in rows)


def _variation_across_samples(facts: TensorFacts) -> float:
    """Variation across samples; 0 if all values are equal, where the measured ratio is 0/0."""
    return 0.0 if facts.minimum == facts.maximum else facts.sample_variation


def _varies_across_samples(facts: TensorFacts, limit: float) -> bool:
    """Whether samples differ by more than ``limit``."""
    return _variation_across_samples(facts) > limit


def _first_constant_layer(measured: Measurements, index: int, limit: float) -> tuple[str, ...]:
    """The first layer whose output is the same for all samples, else the output's layer.

    Follows the constant calls from output ``index`` back towards the input. The tuple has at most
    one layer; it is empty if the output belongs to no layer call.
    """
    activations, wiring = measured.get(Activations), measured.get(Wiring)
    constant = {
        row.path: row.layer
        for row in (activations.rows if activations is not None else ())
        if row.leaf and (row.sample_variation <= limit or row.minimum == row.maximum)
    }
    if wiring is None:
        return tuple(constant.values())[:1]
    network = Network(wiring)
    output = [path for path in wiring.outputs[index : index + 1] if path in network.leaves]
    path = next(iter(output), "")
    for _ in network.leaves:  # no path has more calls
        if path not in constant or len(network.leaves[path].inputs) != 1:
            break
        if network.leaves[path].inputs[0] not in constant:
            return (constant[path],)
        path = network.leaves[path].inputs[0]
    return tuple(network.leaves[path].layer for path in output)
