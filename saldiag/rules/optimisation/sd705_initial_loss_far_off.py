"""SD705: an untrained classifier is confident in wrong classes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LossCheck, Measurements, OverfitHistory, Wiring
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES

MEAN_REDUCTIONS = frozenset({None, "mean", "mean_with_sample_weight", "sum_over_batch_size"})


class InitialLossFarOff(Rule):
    """A classifier's initial loss is many times the loss of guessing.

    ## What it does
    Compares the cross-entropy before training with that of a uniform guess (the log of the number
    of classes) or of the best constant prediction, whichever is larger. If the loss falls in the
    overfit test, the finding is only a note: a new output layer on unscaled features, such as those
    of a frozen encoder, starts with a high loss but quickly recovers. Other losses have no such
    reference value.

    ## Why is this bad
    The first steps only shrink outputs that happen to be large; until then, softmax and sigmoid are
    saturated. A high initial loss also indicates wrong logits, labels or preprocessing.

    ## Example
    ```python
    wide = keras.initializers.RandomNormal(stddev=30.0)
    outputs = keras.layers.Dense(10, activation="softmax", kernel_initializer=wide)(x)
    ```

    ## Use instead
    ```python
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    ```

    ## Threshold
    - `fallen` = 0.5: lowest loss of the overfit test over the initial loss, up to which the finding
      is a note. Our own choice.
    - `times` = 10: initial loss over that of guessing. The initial loss should be log(classes)
      (Karpathy, A Recipe for Training Neural Networks, 2019, "verify loss @ init"); twice that is
      usual with glorot_uniform on inputs that are not fully normalised.
    """

    code = "SD705"
    name = "initial-loss-far-off"
    severity = "warning"
    requires = (Wiring, DataFacts, LossCheck)
    thresholds = {"fallen": 0.5, "times": 10}
    explains = {"SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(DataFacts)
        if wiring.loss not in CROSS_ENTROPIES:
            return
        if facts.baselines is None or wiring.loss_config.get("reduction") not in MEAN_REDUCTIONS:
            raise CannotJudge(facts.no_baselines or "the loss is a sum, not a mean")
        check = measured.need(LossCheck)
        start = check.reported_training - check.regularization
        guess = max(
            _loss_weight(wiring) * math.log(_number_of_classes(facts)), facts.baselines.constant
        )
        if not (math.isfinite(start) and start > limits["times"] * guess):
            return
        heads = Network(wiring).heads()
        layer = heads[0].layer if len(heads) == 1 else ""
        source = source_of(measured, layer) if layer else None
        yield self.finding(
            f"{label(layer)}: {label(wiring.loss)} starts at {number(start)}, "
            f"{number(start / guess)} times the loss of guessing, {number(guess)} "
            f"(threshold {number(limits['times'])}). Check the output layer's initializer, the "
            f"scale of the inputs, and the labels{at_line(source)}",
            'kernel_initializer="glorot_uniform"',
            layers=(layer,) if layer else (),
            evidence={
                "loss": start,
                "guess": guess,
                "times": start / guess,
                "threshold": limits["times"],
            },
            source=source,
            severity="info"
            if _lowest_over_initial_loss(measured, start) <= limits["fallen"]
            else "warning",
            confidence=0.7,
        )


def _lowest_over_initial_loss(measured: Measurements, start: float) -> float:
    """Lowest loss of the overfit test over the initial loss; 1 without a test."""
    history = measured.get(OverfitHistory)
    losses = [] if history is None else [x for x in history.loss.tolist() if math.isfinite(x)]
    return min(losses, default=start) / start


def _loss_weight(wiring: Wiring) -> float:
    """The factor that ``loss_weights`` applies to the loss."""
    return wiring.loss_weights[0] if len(wiring.loss_weights) == 1 else 1.0


def _number_of_classes(facts: DataFacts) -> int:
    """Size of the last axis of the predictions, at least 2."""
    shape = facts.predictions[0].shape if facts.predictions else ()
    size = shape[-1] if len(shape) > 1 else 1
    return max(2, size or 1)
