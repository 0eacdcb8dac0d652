"""SD112: dropout where it destroys more than it regularises."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import LayerCall, Measurements, Wiring
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network, is_shape_only
from saldiag.rules.shared.wording import at, label, number

DROPOUT = frozenset({"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"})


class DropoutInTheWrongPlace(Rule):
    """Dropout on the output, at a rate that leaves next to nothing, or right before BatchNorm.

    ## What it does
    Looks at every dropout layer. Dropout on the model's output (nothing but changes of shape behind
    it) is an error. A rate above the threshold, and dropout whose output goes straight into
    BatchNorm, are told (info): both can be meant, and a model can learn with them.

    ## Why is this bad
    On the output, dropout replaces predictions by 0 and scales up the rest, at random: the training
    loss has a floor that no weights can lower, and a cross-entropy takes log(0) (and loses the
    logits behind the activation, which Keras 3 computes it from). Before BatchNorm it changes the
    variance that BatchNorm sees in training, and not in inference, for which the moving variance is
    then wrong.

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
    - `rate` = 0.7: dropped share above which it is told. Usual for hidden units is 0.2 to 0.5
      (Srivastava et al., Dropout, 2014, section 7.3: error grows steeply where fewer than 0.4 are
      kept; Li et al., Understanding the Disharmony between Dropout and Batch Normalization by
      Variance Shift, 2019, for BatchNorm).
    """

    code = "SD112"
    name = "dropout-in-the-wrong-place"
    severity = "error"
    requires = (Wiring,)
    thresholds = {"rate": 0.7}
    explains = {"SD103": "anywhere", "SD801": "anywhere", "SD802": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        network = Network(measured.need(Wiring))
        last = _on_output(network)
        for call in network.leaves.values():
            if call.kind not in DROPOUT or not _rate(call):
                continue
            if call.path in last:
                yield self._on_output(measured, call, limits)
            elif _rate(call) > limits["rate"]:
                yield self._too_high(measured, call, limits)
            elif _before_norm(network, call):
                yield self._before_norm(measured, call, limits)

    def _on_output(self, measured: Measurements, call: LayerCall, limits: Thresholds) -> Finding:
        return self._told(
            measured,
            call,
            f"drops {number(_rate(call))} of the model's outputs while it trains (threshold 0 "
            f"there, {number(limits['rate'])} elsewhere). Put it before the last layer",
            f"outputs = x  # what {label(call.layer)} took; drop out before the last layer",
            {"rate": _rate(call), "place": "output", "threshold": 0.0},
            rate="0.0",
        )

    def _too_high(self, measured: Measurements, call: LayerCall, limits: Thresholds) -> Finding:
        return self._told(
            measured,
            call,
            f"drops {number(_rate(call))} of its input (threshold {number(limits['rate'])}). "
            "Lower the rate",
            f"rate=0.5  # in {label(call.layer)}",
            {"rate": _rate(call), "place": "hidden", "threshold": limits["rate"]},
            note=True,
            rate="0.5",
        )

    def _before_norm(self, measured: Measurements, call: LayerCall, limits: Thresholds) -> Finding:
        return self._told(
            measured,
            call,
            f"drops {number(_rate(call))} right before BatchNorm, whose variance then differs in "
            f"training and in inference (threshold 0 there, {number(limits['rate'])} elsewhere). "
            "Put it behind",
            f"x = keras.layers.Dropout({number(_rate(call))})(x)  # behind the last BatchNorm",
            {"rate": _rate(call), "place": "before BatchNorm", "threshold": 0.0},
            note=True,
        )

    def _told(
        self,
        measured: Measurements,
        call: LayerCall,
        what: str,
        fix: str,
        evidence: dict[str, object],
        *,
        note: bool = False,
        rate: str = "",
    ) -> Finding:
        source = source_of(measured, call.layer)
        return self.finding(
            f"{label(call.layer)}: {what}{at(source)}",
            fix,
            layers=(call.layer,),
            evidence=evidence,
            source=source,
            severity="info" if note else "error",
            edits=edits.of_layer(measured, call, "rate", _rate(call), rate) if rate else (),
        )


def _rate(call: LayerCall) -> float:
    rate = call.config.get("rate", 0.0)
    return float(rate) if isinstance(rate, (int, float)) else 0.0


def _on_output(network: Network) -> set[str]:
    """Dropout calls with nothing but changes of shape between them and an output.

    A call that feeds other layers as well is not looked at: its output is a feature, too.
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


def _before_norm(network: Network, call: LayerCall) -> bool:
    following = [network.leaves[path] for path in network.consumers(call.path)]
    return any(after.kind == "BatchNormalization" and after.trainable for after in following)
