"""SD705: a classifier that starts out sure of the wrong classes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LossCheck, Measurements, OverfitHistory, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES
from saldiag.rules.shared.wording import at, label, number

MEANS = frozenset({None, "mean", "mean_with_sample_weight", "sum_over_batch_size"})


class InitialLossFarOff(Rule):
    """The loss of a classifier starts many times above that of a guess.

    ## What it does
    Compares the cross-entropy before any training with that of knowing nothing (all classes alike:
    log of their number) and of the best constant, whichever is larger. Where the overfit test
    brings the loss down, the start is a note: a new head on features of any scale, such as a frozen
    encoder's, starts wide and is soon right. Other losses have no start that one could name.

    ## Why is this bad
    The first steps do nothing but bring an output down that was wide by accident, and while it is
    wide, softmax and sigmoid saturate. A start that is far off also tells of logits, labels or
    preprocessing that are not what they are taken for.

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
    - `fallen` = 0.5: loss in the overfit test over that at the start, from which on down it is a
      note. It is our own choice.
    - `times` = 10: loss at the start over that of a guess. It is to be log(classes) (Karpathy, A
      Recipe for Training Neural Networks, 2019, "verify loss @ init"); twice that is usual with
      glorot_uniform on inputs that are not quite normalised.
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
        if facts.baselines is None or wiring.loss_config.get("reduction") not in MEANS:
            raise CannotJudge(facts.no_baselines or "the loss is a sum, not a mean")
        check = measured.need(LossCheck)
        start = check.reported_training - check.regularization
        guess = max(_factor(wiring) * math.log(_classes(facts)), facts.baselines.constant)
        if not (math.isfinite(start) and start > limits["times"] * guess):
            return
        heads = Network(wiring).heads()
        layer = heads[0].layer if len(heads) == 1 else ""
        source = source_of(measured, layer) if layer else None
        yield self.finding(
            f"{label(layer)}: {label(wiring.loss)} starts at {number(start)}, "
            f"{number(start / guess)} times that of a guess, {number(guess)} "
            f"(threshold {number(limits['times'])}). Look at the head's initializer, the inputs' "
            f"scale and the labels{at(source)}",
            'kernel_initializer="glorot_uniform"',
            layers=(layer,) if layer else (),
            evidence={
                "loss": start,
                "guess": guess,
                "times": start / guess,
                "threshold": limits["times"],
            },
            source=source,
            severity="info" if _fallen(measured, start) <= limits["fallen"] else "warning",
            confidence=0.7,
        )


def _fallen(measured: Measurements, start: float) -> float:
    """The least loss of the overfit test over that at the start; 1 where there was no test."""
    history = measured.get(OverfitHistory)
    losses = [] if history is None else [x for x in history.loss.tolist() if math.isfinite(x)]
    return min(losses, default=start) / start


def _factor(wiring: Wiring) -> float:
    """What ``loss_weights`` multiplies the loss by."""
    return wiring.loss_weights[0] if len(wiring.loss_weights) == 1 else 1.0


def _classes(facts: DataFacts) -> int:
    """How many there are to guess from: the size of the last axis, or two."""
    shape = facts.predictions[0].shape if facts.predictions else ()
    size = shape[-1] if len(shape) > 1 else 1
    return max(2, size or 1)
