"""SD112: dropout where it destroys more than it regularises."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network, is_shape_only

DROPOUT = frozenset({"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"})


class DropoutInTheWrongPlace(Rule):
    """Dropout on the output, at a very high rate, or directly before BatchNorm.

    ## What it does
    Checks every dropout layer. Dropout on the model's output, with only shape-only layers after it,
    is an error. A rate above the threshold, and dropout whose output goes directly to BatchNorm,
    are infos: both can be intended, and a model can learn with them.

    ## Why is this bad
    On the output, dropout randomly replaces predictions by 0 and scales up the rest. The training
    loss has a lower bound that no weights can beat, and a cross-entropy takes log(0) (it also loses
    the logits before the activation, from which Keras 3 computes it otherwise). Before BatchNorm,
    dropout changes the variance in training but not in inference, which makes the moving variance
    wrong for inference.

    ## Example
    ```python
    x = keras.layers.Dense(10, activation="softmax")(x)
    outputs = keras.layers.Dropout(0.5)(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Dropout(0.5)(x)
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    ```

    ## Threshold
    - `rate` = 0.7: dropped share above which a rate is reported. Usual for hidden units is 0.2 to
      0.5 (Srivastava et al., Dropout, 2014, section 7.3: the error rises steeply if fewer than 0.4
      are kept; for BatchNorm: Li et al., Understanding the Disharmony between Dropout and Batch
      Normalization by Variance Shift, 2019).
    """

    code = "SD112"
    name = "dropout-in-the-wrong-place"
    severity = "error"
    requires = (Wiring,)
    thresholds = {"rate": 0.7}
    explains = {"SD103": "anywhere", "SD801": "anywhere", "SD802": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        network = Network(measured.need(Wiring))
        last = _dropout_on_outputs(network)
        for call in network.leaves.values():
            if call.kind not in DROPOUT or not _dropout_rate(call):
                continue
            if call.path in last:
                yield self._finding_on_output(measured, call, limits)
            elif _dropout_rate(call) > limits["rate"]:
                yield self._finding_of_rate(measured, call, limits)
            elif _feeds_batchnorm(network, call):
                yield self._finding_before_batchnorm(measured, call, limits)

    def _finding_on_output(
        self, measured: Measurements, call: LayerCall, limits: Thresholds
    ) -> Finding:
        return self._finding_of_dropout(
            measured,
            call,
            f"drops {number(_dropout_rate(call))} of the model's outputs in training (threshold 0 "
            f"on outputs, {number(limits['rate'])} elsewhere). Move it before the last layer",
            f"Move {label(call.layer)} before the last layer",
            {"rate": _dropout_rate(call), "place": "output", "threshold": 0.0},
            rate="0.0",
        )

    def _finding_of_rate(
        self, measured: Measurements, call: LayerCall, limits: Thresholds
    ) -> Finding:
        return self._finding_of_dropout(
            measured,
            call,
            f"drops {number(_dropout_rate(call))} of its input (threshold "
            f"{number(limits['rate'])}). Lower the rate",
            f"rate=0.5  # in {label(call.layer)}",
            {"rate": _dropout_rate(call), "place": "hidden", "threshold": limits["rate"]},
            note=True,
            rate="0.5",
        )

    def _finding_before_batchnorm(
        self, measured: Measurements, call: LayerCall, limits: Thresholds
    ) -> Finding:
        return self._finding_of_dropout(
            measured,
            call,
            f"drops {number(_dropout_rate(call))} directly before BatchNorm, whose input variance "
            "then differs between training and inference (threshold 0 before BatchNorm, "
            f"{number(limits['rate'])} elsewhere). Move it after BatchNorm",
            f"x = keras.layers.Dropout({number(_dropout_rate(call))})(x)  # after the last "
            "BatchNorm",
            {"rate": _dropout_rate(call), "place": "before BatchNorm", "threshold": 0.0},
            note=True,
        )

    def _finding_of_dropout(
        self,
        measured: Measurements,
        call: LayerCall,
        problem: str,
        fix: str,
        evidence: dict[str, object],
        *,
        note: bool = False,
        rate: str = "",
    ) -> Finding:
        """A finding; ``rate`` is the new rate for the edit, empty for no edit."""
        source = source_of(measured, call.layer)
        return self.finding(
            f"{label(call.layer)}: {problem}{at_line(source)}",
            fix,
            layers=(call.layer,),
            evidence=evidence,
            source=source,
            severity="info" if note else "error",
            edits=edits.of_layer(measured, call, "rate", _dropout_rate(call), rate) if rate else (),
        )


def _dropout_rate(call: LayerCall) -> float:
    rate = call.config.get("rate", 0.0)
    return float(rate) if isinstance(rate, (int, float)) else 0.0


def _dropout_on_outputs(network: Network) -> set[str]:
    """Paths of the dropout calls with only shape-only layers between them and an output.

    A call that also feeds other layers is left out: its output is a feature, too.
    """
    found = set()
    for path in network.outputs:
        call = network.leaves[path]
        while is_shape_only(call) and len(network.consumers(call.path)) <= (call.path != path):
            if call.kind in DROPOUT:
                found.add(call.path)
            if len(call.inputs) != 1 or call.inputs[0] not in network.leaves:
                break
            call = network.leaves[call.inputs[0]]
    return found


def _feeds_batchnorm(network: Network, call: LayerCall) -> bool:
    following = [network.leaves[path] for path in network.consumers(call.path)]
    return any(after.kind == "BatchNormalization" and after.trainable for after in following)
