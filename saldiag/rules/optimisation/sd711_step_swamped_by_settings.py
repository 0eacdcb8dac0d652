"""SD711: weight decay, a penalty, epsilon or momentum outweighs the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import GradientHistory, Measurements, OverfitHistory, Wiring
from saldiag.core.wording import number
from saldiag.rules.optimisation import _swamps as swamps
from saldiag.rules.shared import edits
from saldiag.rules.verdicts.overfit import verdict_of


class StepSwampedBySettings(Rule):
    """A setting of the optimizer, or a penalty, outweighs the gradient of the data.

    ## What it does
    Checks models that the overfit test does not show to learn: (a) weight decay makes up most of
    each update, or the penalty in the loss is many times the data loss, and the weights have
    shrunk; (b) epsilon is many times the largest gradient, and the updates are tiny; (c) momentum
    accumulates hundreds of steps.

    ## Why is this bad
    The data's gradient exists, but something else determines where the weights go: to 0, nowhere,
    or far beyond the minimum.

    ## Example
    ```python
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=100.0)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.004)
    ```

    ## Threshold
    - `decay` = 0.5: learning rate times weight_decay, over |Δw| / |w| of the last steps. Keras'
      default is 0.004 (Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, use at
      most 0.05).
    - `penalty` = 10: penalty over data loss, before training.
    - `shrunk` = 0.5: norm of the weights at the end over that at the start.
    - `epsilon` = 10: epsilon over the largest gradient of the first steps (median).
    - `moved` = 1e-4: |Δw| / |w| of a step, below which epsilon has stopped it; 1e-3 is healthy
      (Karpathy, CS231n, 2015).
    - `momentum` = 0.995: momentum from which on 200 steps are accumulated; 0.9 to 0.99 is usual
      (Sutskever et al., On the Importance of Initialization and Momentum in Deep Learning, 2013).
    """

    code = "SD711"
    name = "step-swamped-by-settings"
    severity = "error"
    requires = (Wiring, GradientHistory, OverfitHistory)
    thresholds = {
        "decay": 0.5,
        "penalty": 10,
        "shrunk": 0.5,
        "epsilon": 10,
        "moved": 1e-4,
        "momentum": 0.995,
    }
    explains = {
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD302": "anywhere",
        "SD305": "anywhere",
        "SD701": "anywhere",
        "SD702": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history, test = measured.need(GradientHistory), measured.need(OverfitHistory)
        if len(history.steps) < 20 or verdict_of(test)[0] == "learns":
            return
        found = (
            swamps.dominating_weight_decay(measured, history, limits)
            or swamps.dominating_penalty(measured, history, limits)
            or swamps.dominating_epsilon(measured, history, limits)
            or swamps.dominating_momentum(measured, test, limits)
        )
        if found is not None:
            yield self.finding(
                f"{found.text} (threshold {number(limits[found.limit])}); the model does not learn",
                found.fix,
                evidence={
                    "setting": found.setting,
                    "value": found.value,
                    "threshold": limits[found.limit],
                },
                confidence=0.9,
                edits=_edits_to_default(measured, found),
            )


def _edits_to_default(measured: Measurements, found: swamps.DominatingSetting) -> edits.Edits:
    """The edit that sets the optimizer's argument to the recommended value, if it is a number."""
    given = measured.need(Wiring).optimizer_config.get(found.setting)
    if not math.isfinite(found.recommended) or not isinstance(given, (int, float)):
        return ()
    return edits.of_optimizer(measured, found.setting, given, found.recommended)
