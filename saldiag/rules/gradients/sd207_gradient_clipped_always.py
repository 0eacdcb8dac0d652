"""SD207: gradient clipping takes hold at every step and leaves next to nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Array, GradientHistory, Measurements, OverfitHistory, Wiring
from saldiag.rules.shared import edits
from saldiag.rules.shared.update_ratios import kernel_columns
from saldiag.rules.shared.wording import counted, label, number, percent
from saldiag.rules.verdicts.overfit import verdict_of

SCALE_FREE = frozenset({
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "Muon",
    "Nadam", "RMSprop",
})  # fmt: skip
"""Optimizers that divide by the gradient's own size: a factor on all of it changes little."""

CLIPPINGS = ("global_clipnorm", "clipnorm", "clipvalue")


class GradientClippedAlways(Rule):
    """Clipping cuts the gradient at every step, by orders of magnitude.

    ## What it does
    Compares the gradients before clipping with the optimizer's ``clipnorm``, ``global_clipnorm``
    or ``clipvalue``. Speaks up where nearly every step is clipped and the steps shrink by orders of
    magnitude, under an optimizer whose step is as large as the gradient (SGD; Adam and its like
    divide by the gradient's size), unless the overfit test shows that the model learns.

    ## Why is this bad
    Clipping is there for the rare cliff. Where it acts always, it is the clipping that sets the
    size of the steps, and the learning rate means nothing any more.

    ## Example
    ```python
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1e-6)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=1.0)
    ```

    ## Threshold
    - `factor` = 100: gradient over the limit, in the median over the steps. Pascanu, Mikolov &
      Bengio (On the difficulty of training recurrent neural networks, 2013, section 3.2) put the
      limit at half to ten times the average norm.
    - `share` = 0.95: share of the steps that are clipped.
    - `min_steps` = 10: fewest recorded steps; the first ones of a training are often clipped.
    """

    code = "SD207"
    name = "gradient-clipped-always"
    severity = "warning"
    requires = (Wiring, GradientHistory)
    thresholds = {"factor": 100, "share": 0.95, "min_steps": 10}
    explains = {"SD702": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, history = measured.need(Wiring), measured.need(GradientHistory)
        given = [(name, wiring.optimizer_config.get(name)) for name in CLIPPINGS]
        set_ = [(name, float(value)) for name, value in given if value]
        if not set_ or wiring.optimizer in SCALE_FREE:
            return
        name, limit = set_[0]
        sizes = _sizes(history, name)
        sizes = sizes[np.isfinite(sizes)]
        if len(sizes) < limits["min_steps"]:
            raise CannotJudge(
                f"{counted(len(sizes), 'step')} recorded, needs {limits['min_steps']:.0f}"
            )
        share, factor = float(np.mean(sizes > limit)), float(np.median(sizes)) / limit
        if share < limits["share"] or factor < limits["factor"]:
            return
        if verdict_of(measured.get(OverfitHistory))[0] == "learns":
            return
        yield self.finding(
            f"{label(wiring.optimizer)}: {name} = {number(limit)} clips {percent(share)} of the "
            f"steps, and makes the gradient {number(factor)} times smaller (threshold "
            f"{number(limits['factor'])}). Raise it to about {number(float(np.median(sizes)))}",
            f"keras.optimizers.SGD(learning_rate=0.01, {name}={number(float(np.median(sizes)))})",
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


def _sizes(history: GradientHistory, name: str) -> Array:
    """At each step what the limit is compared with; of several matrices that in the middle."""
    if name == "global_clipnorm":
        total: Array = np.sqrt(np.sum(np.nan_to_num(history.norm.astype(np.float64)) ** 2, axis=1))
        return total
    of_each = history.norm if name == "clipnorm" else history.maximum
    middle: Array = np.median(of_each[:, kernel_columns(history)], axis=1)
    return middle
