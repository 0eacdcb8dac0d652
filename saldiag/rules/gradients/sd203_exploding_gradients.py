"""SD203: gradients explode over depth or over time."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import GradientFlow, GradientHistory, Measurements
from saldiag.core.wording import at_line, counted, label, number
from saldiag.rules.gradients._depth import DepthTrend, depth_trend, learns_in_overfit_test
from saldiag.rules.shared.trend_statistics import first_and_last_quarter


class ExplodingGradients(Rule):
    """Gradients grow by orders of magnitude toward the input, or from step to step.

    ## What it does
    Over depth: fits a line to the logarithm of the gradient norms, as vanishing-gradients does, and
    reports a steep rise toward the input, unless the model learns in the overfit test. Over time:
    compares the norm over all variables in the first and the last quarter of the recorded steps,
    and reports growth only if the loss rose too, because gradients also grow when a model leaves a
    plateau.

    ## Why is this bad
    One step moves the weights far from where the gradient was valid. The loss jumps, and finally
    becomes NaN.

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
      Pascanu, Mikolov & Bengio (On the difficulty of training recurrent neural networks, 2013,
      section 3.2) clip the norm instead.
    - `tau` = 0.7: Kendall's rank correlation of norm and depth.
    - `min_layers` = 6: fewest layers with a kernel for a trend over depth.
    - `growth` = 1000: norm of the last quarter of the steps over that of the first.
    - `min_steps` = 8: fewest recorded steps for a trend over time.
    """

    code = "SD203"
    name = "exploding-gradients"
    severity = "error"
    requires = ()
    compares_losses = True
    thresholds = {"decades": 5, "tau": 0.7, "min_layers": 6, "growth": 1000, "min_steps": 8}
    explains = {"SD204": "anywhere", "SD303": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        if measured.get(GradientHistory) is None and measured.get(GradientFlow) is None:
            raise CannotJudge(measured.reason(GradientFlow))
        yield from self._findings_over_time(measured.get(GradientHistory), limits)
        try:
            trend = depth_trend(measured, limits["min_layers"])
        except CannotJudge:
            return  # too few layers for a trend over depth, but the trend over time was judged
        steep = -trend.decades >= limits["decades"] and -trend.tau >= limits["tau"]
        if steep and not learns_in_overfit_test(measured):
            yield self._finding_over_depth(measured, trend, limits)

    def _finding_over_depth(
        self, measured: Measurements, trend: DepthTrend, limits: Thresholds
    ) -> Finding:
        source = source_of(measured, trend.layers[0])
        return self.finding(
            f"{label(trend.layers[0])}: the gradient norm grows from {number(trend.last)} in "
            f"{label(trend.layers[-1])} to {number(trend.first)} here, by {number(-trend.decades)} "
            f"orders of magnitude over {len(trend.layers)} layers (threshold "
            f"{number(limits['decades'])}). Use a smaller initializer, or clip the "
            f"gradient{at_line(source)}",
            'kernel_initializer="glorot_uniform"',
            layers=(trend.layers[0],),
            evidence={**trend.evidence(), "threshold": limits["decades"]},
            source=source,
            confidence=0.9,
        )

    def _findings_over_time(
        self, history: GradientHistory | None, limits: Thresholds
    ) -> Iterable[Finding]:
        if history is None or len(history.steps) < limits["min_steps"]:
            return
        total = np.sqrt(np.sum(np.nan_to_num(history.norm.astype(np.float64)) ** 2, axis=1))
        first, last = first_and_last_quarter(total)
        loss_first, loss_last = first_and_last_quarter(history.loss)
        rose = loss_last > loss_first or not math.isfinite(loss_last)
        if not first or last < limits["growth"] * first or not rose:
            return
        yield self.finding(
            f"the gradient norm grows from {number(first)} to {number(last)} over "
            f"{counted(len(history.steps), 'recorded step')}, a factor of {number(last / first)} "
            f"(threshold {number(limits['growth'])}), and the loss goes from {number(loss_first)} "
            f"to {number(loss_last)}. Clip the gradient, or lower the learning rate",
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
