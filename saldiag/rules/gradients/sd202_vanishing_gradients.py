"""SD202: gradients vanish from layer to layer toward the input."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements
from saldiag.core.wording import at_line, label, number
from saldiag.rules.gradients._depth import depth_trend, learns_in_overfit_test


class VanishingGradients(Rule):
    """Gradients fall by orders of magnitude from layer to layer toward the input.

    ## What it does
    Takes |dL/d(output)| of every layer with a trainable kernel in execution order (where the
    gradient flow was not measured: the median of the kernel's gradient norm over the recorded
    steps) and fits a line to its logarithm over depth. A single small norm is not reported, only a
    steady fall over the whole depth, and only if the model doesn't learn in the overfit test.

    ## Why is this bad
    The layers near the input get updates that are too small to matter (below Adam's epsilon even
    Adam cannot scale them up), and the layers after them learn from features that stay random.

    ## Example
    ```python
    for _ in range(20):
        x = keras.layers.Dense(64, activation="sigmoid")(x)
    ```

    ## Use instead
    ```python
    for _ in range(20):
        x = keras.layers.Dense(64, activation="relu", kernel_initializer="he_normal")(x)
    ```

    ## Threshold
    - `decades` = 5: powers of ten by which the fitted line falls from the last layer to the first.
      Glorot & Bengio (Understanding the difficulty of training deep feedforward neural networks,
      2010, figures 6 and 7) see about one decade in networks that still train.
    - `tau` = 0.7: Kendall's rank correlation of norm and depth, which tells a trend from a single
      layer.
    - `min_layers` = 6: fewest layers with a kernel for a trend.
    """

    code = "SD202"
    name = "vanishing-gradients"
    severity = "error"
    requires = ()
    thresholds = {"decades": 5, "tau": 0.7, "min_layers": 6}
    explains = {"SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        trend = depth_trend(measured, limits["min_layers"])
        if trend.decades < limits["decades"] or trend.tau < limits["tau"]:
            return
        if learns_in_overfit_test(measured):
            return
        source = source_of(measured, trend.layers[0])
        yield self.finding(
            f"{label(trend.layers[0])}: the gradient norm falls from {number(trend.last)} in "
            f"{label(trend.layers[-1])} to {number(trend.first)} here, by {number(trend.decades)} "
            f"powers of ten over {len(trend.layers)} layers (threshold "
            f"{number(limits['decades'])}). Use relu with he_normal, or residual "
            f"connections{at_line(source)}",
            'activation="relu", kernel_initializer="he_normal"',
            layers=(trend.layers[0],),
            evidence={**trend.evidence(), "threshold": limits["decades"]},
            source=source,
            confidence=0.9,
        )
