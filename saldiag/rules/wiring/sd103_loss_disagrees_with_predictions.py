"""SD103: the loss that Keras reports is not the loss of the predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LossCheck, Measurements, Wiring
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES, from_logits, takes_logits_behind


class LossDisagreesWithPredictions(Rule):
    """The loss computed from ``predict``'s output differs from the loss of ``evaluate``.

    ## What it does
    Computes the loss from the model's predictions, and compares it with the loss that Keras reports
    for the same batch in inference mode, without regularisation. Pairs that Keras 3 reconciles on
    purpose are ignored: sigmoid under categorical cross-entropy, and ``from_logits=True`` directly
    on a softmax or sigmoid.

    ## Why is this bad
    The model trains on other values than it predicts. Keras 3's cross-entropies are computed from
    the logits before the output activation, whatever that activation is. A wrong output layer, such
    as a softmax over one channel, doesn't show in the loss, although every prediction is wrong.

    ## Example
    ```python
    outputs = keras.layers.Dense(1, activation="softmax")(x)  # predicts 1.0 for every input
    model.compile(loss="binary_crossentropy")  # but trains like a sigmoid
    ```

    ## Use instead
    ```python
    outputs = keras.layers.Dense(1, activation="sigmoid")(x)
    model.compile(loss="binary_crossentropy")
    ```

    ## Threshold
    - `relative` = 0.05: difference, as a share of the larger loss. Rounding to float16 (relative
      2^-11 for each value; Micikevicius et al., Mixed Precision Training, 2018) changes a mean by
      less than a tenth of that.
    - `absolute` = 0.001: smallest difference that counts, for losses near zero.
    """

    code = "SD103"
    name = "loss-disagrees-with-predictions"
    severity = "error"
    requires = (LossCheck,)
    thresholds = {"relative": 0.05, "absolute": 0.001}
    explains = {"SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        check = measured.need(LossCheck)
        reported, recomputed = check.reported - check.regularization, check.recomputed
        if not (math.isfinite(reported) and math.isfinite(recomputed)):
            raise CannotJudge(f"{label(check.loss)} is not finite and cannot be compared")
        difference = abs(reported - recomputed)
        larger = max(abs(reported), abs(recomputed))
        if difference <= max(limits["absolute"], limits["relative"] * larger):
            return
        _refuse_intended_difference(measured, reported, recomputed)
        layers = _output_layers(measured)
        source = source_of(measured, layers[-1]) if layers else None
        yield self.finding(
            f"{label(check.loss)} is {number(reported)} as reported by Keras, but "
            f"{number(recomputed)} when computed from the predictions for the same batch: a "
            f"relative difference of {number(difference / larger)} (threshold "
            f"{number(limits['relative'])}). Use an output activation that fits the "
            f"loss{at_line(source)}",
            'activation="sigmoid"  # in the last layer, with loss="binary_crossentropy"',
            layers=layers,
            evidence={
                "reported": reported,
                "recomputed": recomputed,
                "relative_difference": difference / larger,
                "threshold": limits["relative"],
            },
            source=source,
        )


def _output_layers(measured: Measurements) -> tuple[str, ...]:
    wiring = measured.get(Wiring)
    if wiring is None:
        return ()
    leaves = Network(wiring).leaves
    return tuple(dict.fromkeys(leaves[path].layer for path in wiring.outputs if path in leaves))


def _refuse_intended_difference(measured: Measurements, reported: float, recomputed: float) -> None:
    """Return only if the difference is a fault.

    Raises:
        CannotJudge: Keras computes its loss in another way on purpose.
    """
    wiring = measured.get(Wiring)
    if wiring is None:
        return
    masked = [
        call for call in wiring.calls if call.kind == "Masking" or call.config.get("mask_zero")
    ]
    if masked:
        raise CannotJudge(
            f"{label(masked[0].layer)} masks the loss, but plain predictions have no mask"
        )
    if _keras_reconciles(wiring):
        raise CannotJudge(
            f"Keras computes {label(wiring.loss)} from the logits before the last activation"
        )
    if wiring.loss in CROSS_ENTROPIES and reported > recomputed and _predictions_saturate(measured):
        raise CannotJudge(
            f"predictions come within 1e-6 of 0 or 1, where {label(wiring.loss)} is clipped"
        )


def _keras_reconciles(wiring: Wiring) -> bool:
    if not takes_logits_behind(wiring):
        return False
    heads = {call.activation for call in Network(wiring).heads()}
    categorical = wiring.loss != "binary_crossentropy"
    return from_logits(wiring) or (categorical and heads == {"sigmoid"})


def _predictions_saturate(measured: Measurements) -> bool:
    """Whether predictions come within 1e-6 of 0 or 1, near Keras' epsilon of 1e-7.

    True where the predictions were not measured.
    """
    facts = measured.get(DataFacts)
    if facts is None or not facts.predictions:
        return True
    return any(p.minimum <= 1e-6 or p.maximum >= 1 - 1e-6 for p in facts.predictions)
