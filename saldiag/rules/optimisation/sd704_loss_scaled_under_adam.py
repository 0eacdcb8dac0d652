"""SD704: the loss is multiplied by a number that the optimizer divides by again."""

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
from saldiag.rules.shared.update_ratios import INVARIANT, gradients_in_epsilons
from saldiag.rules.shared.wording import label, number
from saldiag.rules.verdicts.overfit import verdict_of

CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


class LossScaledUnderAdam(Rule):
    """A model that does not learn has its loss multiplied, under an optimizer that undoes it.

    ## What it does
    Looks at ``loss_weights``: all of them the same factor, far from 1, under an optimizer that
    divides each gradient by its own running size, in a model that the overfit test shows not to
    learn. Left alone are clipping and penalties (the factor changes their share), half precision
    (it guards against underflow), and gradients that are small beside the optimizer's epsilon.

    ## Why is this bad
    It is a remedy that cannot work. Adam's step is the same for 1000 times the gradient; the cause
    is somewhere else, and the reported loss is no longer comparable with anything.

    ## Example
    ```python
    model.compile("adam", "mse", loss_weights=[1000.0])
    ```

    ## Use instead
    ```python
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    ```

    ## Threshold
    - `factor` = 10: from which on, or from its inverse down, it is far from 1; Adam's step does not
      change under any (Kingma & Ba, Adam, 2015, section 2.1).
    - `epsilons` = 1000: largest gradient over the optimizer's epsilon, in the median over steps.
    """

    code = "SD704"
    name = "loss-scaled-under-adam"
    severity = "info"
    requires = (Wiring, OverfitHistory, GradientHistory)
    thresholds = {"factor": 10, "epsilons": 1000}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        factors = set(wiring.loss_weights)
        if wiring.optimizer not in INVARIANT or len(factors) != 1 or _matters(measured, limits):
            return
        factor = factors.pop()
        if not factor > 0 or 1 / limits["factor"] < factor < limits["factor"]:
            return
        if verdict_of(measured.need(OverfitHistory))[0] != "does_not_learn":
            return
        yield self.finding(
            f"loss_weights multiplies the loss by {number(factor)} (threshold "
            f"{number(limits['factor'])}), and {label(wiring.optimizer)} divides each gradient by "
            "its own size: its steps are the same without. Change the learning rate if steps are "
            "to be larger or smaller",
            "model.compile(optimizer, loss)  # without loss_weights",
            evidence={"factor": factor, "threshold": limits["factor"]},
        )


def _matters(measured: Measurements, limits: Thresholds) -> bool:
    """Whether the factor does change something."""
    wiring, check = measured.need(Wiring), measured.get(LossCheck)
    config = wiring.optimizer_config
    if "float16" in wiring.precision or any(config.get(name) for name in CLIPS):
        return True
    if check is None or check.regularization:
        return True
    sizes = gradients_in_epsilons(measured.need(GradientHistory), wiring)
    return not sizes.max(initial=0.0) >= limits["epsilons"]
