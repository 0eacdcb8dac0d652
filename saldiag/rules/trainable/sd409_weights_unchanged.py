"""SD409: training steps were taken, and no weight is different after them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import (
    GradientFlow,
    GradientHistory,
    Measurements,
    OverfitHistory,
    Wiring,
)
from saldiag.rules.shared.wording import counted, number


class WeightsUnchanged(Rule):
    """Gradients arrive, the learning rate is not 0, and training steps change no weight at all.

    ## What it does
    Compares the trainable variables before and after the overfit test, bit by bit. Speaks up where
    steps were taken, the loss has a finite gradient, the learning rate is above 0, and none has
    changed. Steps that loss scaling leaves out are another rule's (saldiag explain SD505).

    ## Why is this bad
    A training step of one's own computes the gradients and forgets to apply them, applies them to
    a copy, or a constraint puts the weights back. The loss is reported, and stays.

    ## Example
    ```python
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=data[1], y_pred=self(data[0], training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        return {"loss": loss}
    ```

    ## Use instead
    ```python
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=data[1], y_pred=self(data[0], training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}
    ```

    ## Threshold
    - `steps` = 10: fewest steps that have to have been taken. That weights move at all is the first
      thing to look at (Karpathy, A Recipe for Training Neural Networks, 2019).
    """

    code = "SD409"
    name = "weights-unchanged"
    severity = "error"
    requires = (OverfitHistory, GradientFlow, Wiring)
    thresholds = {"steps": 10}
    explains = {"SD402": "anywhere", "SD702": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history, wiring = measured.need(OverfitHistory), measured.need(Wiring)
        if not history.moved_share >= 0:
            raise CannotJudge("no training step was taken, or weights were not compared")
        norms = [v.norm for v in measured.need(GradientFlow).variables if v.norm]
        gradients = [norm for norm in norms if math.isfinite(norm)]
        taken = len(history.loss)
        if history.moved_share > 0 or taken < limits["steps"] or not wiring.learning_rate > 0:
            return
        accumulated = wiring.optimizer_config.get("gradient_accumulation_steps") or 1
        if not gradients or history.no_gradient or accumulated > taken:
            return
        if wiring.loss_scaled and _left_out(measured.get(GradientHistory)):
            raise CannotJudge("loss scaling leaves out steps whose gradients are not finite")
        own = "train_step applies no gradients to them" if wiring.own_training else "all put back"
        yield self.finding(
            f"after {counted(taken, 'training step')} (threshold {number(limits['steps'])}) none "
            f"of the trainable weights has changed, though {counted(len(gradients), 'variable')} "
            f"have a gradient (largest {number(max(gradients))}): {own}",
            "self.optimizer.apply(gradients, self.trainable_variables)  # in train_step",
            evidence={
                "steps": taken,
                "threshold": limits["steps"],
                "moved_share": history.moved_share,
                "variables_with_gradient": len(gradients),
            },
        )


def _left_out(history: GradientHistory | None) -> bool:
    """Whether gradients were not finite at any recorded step, or none was recorded."""
    if history is None:
        return True
    return bool((np.nan_to_num(history.nonfinite_share, nan=0.0) > 0).any())
