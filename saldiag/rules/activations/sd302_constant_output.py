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
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, label, listed, number
from saldiag.rules.verdicts.overfit import verdict_of


class ConstantOutput(Rule):
    """The model predicts the same for every sample, though inputs and targets differ.

    ## What it does
    Takes the spread of the predictions across samples, relative to their overall spread, and names
    the first layer from which on all samples look alike. After the overfit test the predictions at
    its end count; without one, a constant is only a warning, since a head whose weights start at
    zero puts out a constant until its first step.
    A constant in inference mode alone is left to SD802 where it is BatchNorm's moving statistics
    that lag: the samples are memorised in training mode and the error is gone once the statistics
    are estimated anew, or the steps were too few for them and the output varied in training mode.

    ## Why is this bad
    A constant cannot depend on the input: the best such model predicts the mean.

    ## Example
    ```python
    x = keras.layers.Dense(1, activation="softmax")(x)  # 1.0, always
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(1, activation="sigmoid")(x)
    ```

    ## Threshold
    - `variation` = 1e-6: spread across samples over the overall spread. Ten times the rounding of
      float32 (2^-24; IEEE 754, 2019).
    - `target_variation` = 0.001: the same for the targets, which must differ for a constant to be
      wrong.
    - `recalibrated` = 0.5: share of the inference-mode error below which the error with BatchNorm's
      statistics estimated anew shows that these merely lag (Ioffe & Szegedy, Batch Normalization,
      2015, algorithm 2, estimates them so).
    - `held` = 0.5: share of their start values that the moving statistics still hold, momentum to
      the power of the steps, above which they say nothing of the data.
    """

    code = "SD302"
    name = "constant-output"
    severity = "error"
    requires = (DataFacts,)
    thresholds = {"variation": 1e-6, "target_variation": 0.001, "recalibrated": 0.5, "held": 0.5}
    explains = {"SD103": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts, history = measured.need(DataFacts), measured.get(OverfitHistory)
        if not any(_varies(tensor, limits["variation"]) for tensor in facts.inputs):
            return
        if history is not None and _lags(measured, history, limits):
            return
        for index, (predicted, target) in enumerate(
            zip(facts.predictions, facts.targets, strict=False)
        ):
            variation, trained = _spread(predicted), False
            if history is not None and math.isfinite(history.prediction_variation):
                variation, trained = history.prediction_variation, len(history.loss) > 0
            differ = _varies(target, limits["target_variation"])
            if differ and variation <= limits["variation"]:
                yield self._constant(measured, index, variation, trained, limits)

    def _constant(
        self,
        measured: Measurements,
        index: int,
        variation: float,
        trained: bool,
        limits: Thresholds,
    ) -> Finding:
        layers = _where(measured, index, limits["variation"])
        source = source_of(measured, layers[0]) if layers else None
        return self.finding(
            f"{listed(layers) if layers else f'output {index}'}: the same output for every sample; "
            f"variation {number(variation)} (threshold {number(limits['variation'])}), while the "
            f"targets differ. Look at {label(layers[0]) if layers else 'the head'}{at(source)}",
            "saldiag gradients …  # same options; shows which activations stop varying",
            layers=layers,
            evidence={"variation": variation, "threshold": limits["variation"], "trained": trained},
            source=source,
            severity="error" if trained else "warning",
            confidence=1.0 if trained else 0.7,
        )


def _lags(measured: Measurements, history: OverfitHistory, limits: Thresholds) -> bool:
    """Whether only BatchNorm's moving statistics are behind."""
    if not len(history.loss) or not len(history.inference_error):
        return False
    again = history.recalibrated_error < limits["recalibrated"] * history.inference_error[-1]
    if again and verdict_of(history)[0] == "learns":
        return True
    status = measured.get(TrainableStatus)
    rows = status.normalization if status is not None else ()
    momentum = max((row.momentum for row in rows if row.training_mode), default=0.0)
    held = momentum ** len(history.loss)
    return held > limits["held"] and _varies_in_training(measured, limits["variation"])


def _varies_in_training(measured: Measurements, limit: float) -> bool:
    activations, wiring = measured.get(Activations), measured.get(Wiring)
    if activations is None or wiring is None or not activations.training:
        return False
    rows = [row for row in activations.rows if row.path in wiring.outputs]
    return bool(rows) and all(row.sample_variation > limit for row in rows)


def _spread(facts: TensorFacts) -> float:
    """The sample variation; 0 where all values are one number, for which it is 0/0."""
    return 0.0 if facts.minimum == facts.maximum else facts.sample_variation


def _varies(facts: TensorFacts, limit: float) -> bool:
    return _spread(facts) > limit


def _where(measured: Measurements, index: int, limit: float) -> tuple[str, ...]:
    """The first layer that makes different samples alike, or the output's."""
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
    for _ in network.leaves:  # no path is longer than that
        if path not in constant or len(network.leaves[path].inputs) != 1:
            break
        if network.leaves[path].inputs[0] not in constant:
            return (constant[path],)
        path = network.leaves[path].inputs[0]
    return tuple(network.leaves[path].layer for path in output)
