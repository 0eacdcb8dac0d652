"""SD409: training steps were taken, but no weight has changed."""

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
from saldiag.core.wording import counted, number


class WeightsUnchanged(Rule):
    """Gradients arrive and the learning rate is above 0, but training steps change no weight.

    ## What it does
    Compares the trainable variables before and after the overfit test, bit by bit. Reports models
    whose loss has a finite gradient and whose learning rate is above 0, but whose variables are all
    unchanged after the steps. Steps that loss scaling skips are left to SD505.

    ## Why is this bad
    A custom training step computes the gradients but doesn't apply them, or applies them to a copy;
    or a constraint resets the weights. A loss is reported, but it doesn't improve.

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
    - `steps` = 10: fewest training steps before the weights are compared. Whether the weights move
      at all is the first thing to verify (Karpathy, A Recipe for Training Neural Networks, 2019).
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
            raise CannotJudge("no training step was taken, or the weights were not compared")
        norms = [v.norm for v in measured.need(GradientFlow).variables if v.norm]
        gradients = [norm for norm in norms if math.isfinite(norm)]
        taken = len(history.loss)
        if history.moved_share > 0 or taken < limits["steps"] or not wiring.learning_rate > 0:
            return
        accumulated = wiring.optimizer_config.get("gradient_accumulation_steps") or 1
        if not gradients or history.no_gradient or accumulated > taken:
            return
        if wiring.loss_scaled and _loss_scaling_skipped_steps(measured.get(GradientHistory)):
            raise CannotJudge("loss scaling skips steps with non-finite gradients")
        have = "has" if len(gradients) == 1 else "have"
        cause, fix = _IN_TRAIN_STEP if wiring.own_training else _WEIGHTS_RESET
        yield self.finding(
            f"no trainable weight has changed after {counted(taken, 'training step')} (threshold "
            f"{number(limits['steps'])}), although {counted(len(gradients), 'variable')} {have} a "
            f"gradient (largest norm {number(max(gradients))}): {cause}",
            fix,
            evidence={
                "steps": taken,
                "threshold": limits["steps"],
                "moved_share": history.moved_share,
                "variables_with_gradient": len(gradients),
            },
        )


_IN_TRAIN_STEP = (
    "train_step doesn't apply the gradients to these variables",
    "self.optimizer.apply(gradients, self.trainable_variables)  # in train_step",
)
_WEIGHTS_RESET = (
    "something resets the weights after each step",
    "kernel_constraint=None  # or remove the callback or code that resets the weights",
)
"""The cause, and the fix."""


def _loss_scaling_skipped_steps(history: GradientHistory | None) -> bool:
    """Whether any recorded step has a non-finite gradient; True if no step was recorded."""
    if history is None:
        return True
    return bool((np.nan_to_num(history.nonfinite_share, nan=0.0) > 0).any())
