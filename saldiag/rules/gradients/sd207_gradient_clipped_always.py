"""SD207: gradient clipping shrinks nearly every step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Array, GradientHistory, Measurements, OverfitHistory, Wiring
from saldiag.core.wording import counted, label, number, percent
from saldiag.rules.shared import edits
from saldiag.rules.shared.update_ratios import kernel_columns
from saldiag.rules.verdicts.overfit import verdict_of

SCALE_FREE = frozenset({
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "Muon",
    "Nadam", "RMSprop",
})  # fmt: skip
"""Optimizers that divide by the size of the gradient: a constant factor changes little."""

CLIPPING_ARGUMENTS = ("global_clipnorm", "clipnorm", "clipvalue")


class GradientClippedAlways(Rule):
    """Gradient clipping shrinks nearly every step by orders of magnitude.

    ## What it does
    Compares the gradients before clipping with the optimizer's ``clipnorm``, ``global_clipnorm`` or
    ``clipvalue``. Reports a limit that clips nearly every step and shrinks the gradient by orders
    of magnitude, under an optimizer whose step is proportional to the gradient (such as SGD; Adam
    and similar optimizers divide by the size of the gradient), unless the model learns in the
    overfit test.

    ## Why is this bad
    Clipping is for rare, very large gradients. If it clips every step, it sets the step size, and
    the learning rate loses its meaning.

    ## Example
    ```python
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1e-6)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)
    ```

    ## Threshold
    - `factor` = 100: gradient over the limit, as the median over the steps. Pascanu, Mikolov &
      Bengio (On the difficulty of training recurrent neural networks, 2013, section 3.2) set the
      limit to half to ten times the average norm.
    - `share` = 0.95: share of the steps that are clipped.
    - `min_steps` = 10: fewest recorded steps; the first steps of a training are often clipped.
    """

    code = "SD207"
    name = "gradient-clipped-always"
    severity = "warning"
    requires = (Wiring, GradientHistory)
    thresholds = {"factor": 100, "share": 0.95, "min_steps": 10}
    explains = {"SD702": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, history = measured.need(Wiring), measured.need(GradientHistory)
        given = [(name, wiring.optimizer_config.get(name)) for name in CLIPPING_ARGUMENTS]
        set_ = [(name, float(value)) for name, value in given if value]
        if not set_ or wiring.optimizer in SCALE_FREE:
            return
        name, limit = set_[0]
        sizes = _sizes_before_clipping(history, name)
        sizes = sizes[np.isfinite(sizes)]
        if len(sizes) < limits["min_steps"]:
            raise CannotJudge(
                f"{counted(len(sizes), 'step')} recorded, the rule needs {limits['min_steps']:.0f}"
            )
        share, factor = float(np.mean(sizes > limit)), float(np.median(sizes)) / limit
        if share < limits["share"] or factor < limits["factor"]:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        raised = number(float(np.median(sizes)))
        yield self.finding(
            f"{label(wiring.optimizer)}: {name} = {number(limit)} clips {percent(share)} of the "
            f"steps and shrinks the gradient {number(factor)} times (threshold "
            f"{number(limits['factor'])}). Raise it to about {raised}",
            f"{label(wiring.optimizer)}(…, {name}={raised})",
            evidence={
                "clipping": name,
                "limit": limit,
                "median_before": float(np.median(sizes)),
                "factor": factor,
                "share": share,
                "threshold": limits["factor"],
            },
            edits=edits.of_optimizer(measured, name, limit, float(np.median(sizes))),
        )


def _sizes_before_clipping(history: GradientHistory, name: str) -> Array:
    """For each step, the size that the argument ``name`` limits.

    That is the norm over all variables for ``global_clipnorm``. Otherwise it is the median over the
    weight matrices of the norm (``clipnorm``) or the largest element (``clipvalue``).
    """
    if name == "global_clipnorm":
        total: Array = np.sqrt(np.sum(np.nan_to_num(history.norm.astype(np.float64)) ** 2, axis=1))
        return total
    of_each = history.norm if name == "clipnorm" else history.maximum
    middle: Array = np.median(of_each[:, kernel_columns(history)], axis=1)
    return middle
