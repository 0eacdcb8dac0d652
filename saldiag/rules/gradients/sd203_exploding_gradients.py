"""SD203: gradients grow without bound, in depth or in time."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import GradientFlow, GradientHistory, Measurements
from saldiag.rules.gradients._depth import DepthTrend, depth_trend, learns_all_the_same
from saldiag.rules.shared.trend_statistics import first_and_last_quarter
from saldiag.rules.shared.wording import at, counted, label, number


class ExplodingGradients(Rule):
    """Gradients grow by orders of magnitude toward the input, or from step to step.

    ## What it does
    In depth: fits a line to the logarithm of the gradient norms, as vanishing-gradients does, and
    looks for a steep rise toward the input; a model that learns all the same in the overfit test
    is left alone. In time: compares the norm over all
    variables in the first and the last quarter of the recorded steps, and speaks up only where the
    loss rose as well: a model that leaves a plateau has growing gradients, too.

    ## Why is this bad
    One step throws the weights far from where the gradient was true; the loss jumps, and ends as
    NaN.

    ## Example
    ```python
    optimizer = keras.optimizers.SGD(learning_rate=1.0)
    ```

    ## Use instead
    ```python
    optimizer = keras.optimizers.SGD(learning_rate=0.01, global_clipnorm=1.0)
    ```

    ## Threshold
    - `decades` = 5: powers of ten by which the fitted line rises from the last layer to the first.
      Clipping the norm is the remedy of Pascanu, Mikolov & Bengio (On the difficulty of training
      recurrent neural networks, 2013, section 3.2).
    - `tau` = 0.7: Kendall's rank correlation of norm and depth.
    - `min_layers` = 6: fewest layers with a kernel that make a trend in depth.
    - `growth` = 1000: norm of the last quarter of the steps over that of the first.
    - `min_steps` = 8: fewest recorded steps that make a trend in time.
    """

    code = "SD203"
    name = "exploding-gradients"
    severity = "error"
    requires = ()
    thresholds = {"decades": 5, "tau": 0.7, "min_layers": 6, "growth": 1000, "min_steps": 8}
    explains = {"SD204": "anywhere", "SD303": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        if measured.get(GradientHistory) is None and measured.get(GradientFlow) is None:
            raise CannotJudge(measured.reason(GradientFlow))
        yield from self._in_time(measured.get(GradientHistory), limits)
        try:
            trend = depth_trend(measured, limits["min_layers"])
        except CannotJudge:
            return  # too few layers for a trend in depth; time was judged
        steep = -trend.decades >= limits["decades"] and -trend.tau >= limits["tau"]
        if steep and not learns_all_the_same(measured):
            yield self._in_depth(measured, trend, limits)

    def _in_depth(self, measured: Measurements, trend: DepthTrend, limits: Thresholds) -> Finding:
        source = source_of(measured, trend.layers[0])
        return self.finding(
            f"{label(trend.layers[0])}: gradients grow {number(-trend.decades)} decades over "
            f"{len(trend.layers)} layers, from {number(trend.last)} ({label(trend.layers[-1])}) to "
            f"{number(trend.first)} (threshold {number(limits['decades'])}). "
            f"Use a smaller initializer, or clip{at(source)}",
            'kernel_initializer="glorot_uniform"',
            layers=(trend.layers[0],),
            evidence={**trend.evidence(), "threshold": limits["decades"]},
            source=source,
            confidence=0.9,
        )

    def _in_time(self, history: GradientHistory | None, limits: Thresholds) -> Iterable[Finding]:
        if history is None or len(history.steps) < limits["min_steps"]:
            return
        total = np.sqrt(np.sum(np.nan_to_num(history.norm.astype(np.float64)) ** 2, axis=1))
        first, last = first_and_last_quarter(total)
        loss_first, loss_last = first_and_last_quarter(history.loss)
        rose = loss_last > loss_first or not math.isfinite(loss_last)
        if not first or last < limits["growth"] * first or not rose:
            return
        yield self.finding(
            f"the gradient's norm grows from {number(first)} to {number(last)} over "
            f"{counted(len(history.steps), 'recorded step')}, a factor of {number(last / first)} "
            f"(threshold {number(limits['growth'])}), and the loss from {number(loss_first)} to "
            f"{number(loss_last)}. Clip it, or lower the learning rate",
            "keras.optimizers.Adam(learning_rate=1e-4, global_clipnorm=1.0)",
            evidence={
                "first_norm": first,
                "last_norm": last,
                "growth": last / first,
                "threshold": limits["growth"],
                "first_loss": loss_first,
                "last_loss": loss_last,
            },
            confidence=0.9,
        )
