"""SD711: decay, a penalty, epsilon or momentum leaves nothing of the gradient's own step."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import GradientHistory, Measurements, OverfitHistory, Wiring
from saldiag.rules.optimisation import _swamps as swamps
from saldiag.rules.shared import edits
from saldiag.rules.shared.wording import number
from saldiag.rules.verdicts.overfit import verdict_of


class StepSwampedBySettings(Rule):
    """A setting of the optimizer, or a penalty, is larger than what the gradient asks for.

    ## What it does
    For a model that the overfit test does not show to learn: (a) weight decay takes more of the
    weights in a step than the rest of it moves them, or the penalty in the loss is many times the
    loss of the data, and the weights have shrunk; (b) epsilon is many times the largest gradient,
    and steps are tiny; (c) momentum keeps hundreds of steps.

    ## Why is this bad
    The gradient of the data is there, and something else decides where the weights go: to 0, or
    nowhere, or far beyond.

    ## Example
    ```python
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=100.0)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.004)
    ```

    ## Threshold
    - `decay` = 0.5: rate times weight_decay, over |Δw| / |w| of the last steps; 0.004 is Keras' own
      (Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, use 0.05 at most).
    - `penalty` = 10: penalty over the loss of the data, before training.
    - `shrunk` = 0.5: size of the weights at the end over that at the start.
    - `epsilon` = 10: epsilon over the largest gradient of the first steps, in the median.
    - `moved` = 1e-4: |Δw| / |w| of a step, below which epsilon has stopped it; 1e-3 is healthy
      (Karpathy, CS231n, 2015).
    - `momentum` = 0.995: momentum, from which on 200 steps are kept; 0.9 to 0.99 is usual
      (Sutskever et al., On the Importance of Initialization and Momentum in Deep Learning, 2013).
    """

    code = "SD711"
    name = "step-swamped-by-settings"
    severity = "error"
    requires = (Wiring, GradientHistory, OverfitHistory)
    thresholds = {
        "decay": 0.5, "penalty": 10, "shrunk": 0.5, "epsilon": 10, "moved": 1e-4,
        "momentum": 0.995,
    }  # fmt: skip
    explains = {
        "SD201": "anywhere", "SD202": "anywhere", "SD302": "anywhere", "SD305": "anywhere",
        "SD701": "anywhere", "SD702": "anywhere", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history, test = measured.need(GradientHistory), measured.need(OverfitHistory)
        if len(history.steps) < 20 or verdict_of(test)[0] == "learns":
            return
        swamp = (
            swamps.by_decay(measured, history, limits)
            or swamps.by_penalty(measured, history, limits)
            or swamps.by_epsilon(measured, history, limits)
            or swamps.by_momentum(measured, test, limits)
        )
        if swamp is not None:
            yield self.finding(
                f"{swamp.text} (threshold {number(limits[swamp.limit])}); the model does not learn",
                swamp.fix,
                evidence={
                    "setting": swamp.setting,
                    "value": swamp.value,
                    "threshold": limits[swamp.limit],
                },
                confidence=0.9,
                edits=_edits(measured, swamp),
            )


def _edits(measured: Measurements, swamp: swamps.Swamp) -> edits.Edits:
    """Keras' own value for a setting of the optimizer."""
    given = measured.need(Wiring).optimizer_config.get(swamp.setting)
    if not math.isfinite(swamp.better) or not isinstance(given, (int, float)):
        return ()
    return edits.of_optimizer(measured, swamp.setting, given, swamp.better)
