"""SD704: the loss is multiplied by a factor that the optimizer divides out again."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import (
    GradientHistory,
    LossCheck,
    Measurements,
    OverfitHistory,
    Wiring,
)
from saldiag.core.wording import label, number
from saldiag.rules.shared.update_ratios import INVARIANT, gradients_in_epsilons
from saldiag.rules.verdicts.overfit import verdict_of

CLIPPING_ARGUMENTS = ("clipnorm", "clipvalue", "global_clipnorm")


class LossScaledUnderAdam(Rule):
    """The loss of a model that does not learn is scaled, but the optimizer cancels the factor.

    ## What it does
    Checks ``loss_weights`` in a model that the overfit test shows not to learn: all weights are the
    same factor, far from 1, and the optimizer divides each gradient by its own running magnitude.
    Ignored are gradient clipping and penalties (the factor changes their share), half precision
    (the factor prevents underflow), and gradients that are small relative to the optimizer's
    epsilon.

    ## Why is this bad
    The factor cannot help. Adam takes the same step for a gradient 1000 times as large; the cause
    is elsewhere, and the reported loss is no longer comparable with other runs.

    ## Example
    ```python
    model.compile("adam", "mse", loss_weights=[1000.0])
    ```

    ## Use instead
    ```python
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    ```

    ## Threshold
    - `factor` = 10: a factor from here on, or up to its inverse, is far from 1. No factor changes
      Adam's step (Kingma & Ba, Adam, 2015, section 2.1).
    - `epsilons` = 1000: largest gradient over the optimizer's epsilon, median over the steps.
    """

    code = "SD704"
    name = "loss-scaled-under-adam"
    severity = "info"
    requires = (Wiring, OverfitHistory, GradientHistory)
    thresholds = {"factor": 10, "epsilons": 1000}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        factors = set(wiring.loss_weights)
        if (
            wiring.optimizer not in INVARIANT
            or len(factors) != 1
            or _factor_has_effect(measured, limits)
        ):
            return
        factor = factors.pop()
        if not factor > 0 or 1 / limits["factor"] < factor < limits["factor"]:
            return
        if verdict_of(measured.need(OverfitHistory))[0] != "does_not_learn":
            return
        yield self.finding(
            f"loss_weights multiplies the loss by {number(factor)} (threshold "
            f"{number(limits['factor'])}), but {label(wiring.optimizer)} divides each gradient by "
            "its running magnitude: the steps stay the same. To change their size, change the "
            "learning rate",
            "model.compile(optimizer, loss)  # without loss_weights",
            evidence={"factor": factor, "threshold": limits["factor"]},
        )


def _factor_has_effect(measured: Measurements, limits: Thresholds) -> bool:
    """Whether the factor changes the training after all."""
    wiring, check = measured.need(Wiring), measured.get(LossCheck)
    config = wiring.optimizer_config
    if "float16" in wiring.precision or any(config.get(name) for name in CLIPPING_ARGUMENTS):
        return True
    if check is None or check.regularization:
        return True
    sizes = gradients_in_epsilons(measured.need(GradientHistory), wiring)
    return not sizes.max(initial=0.0) >= limits["epsilons"]
