"""SD202: gradients shrink from layer to layer on their way to the input."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements
from saldiag.rules.gradients._depth import depth_trend, learns_all_the_same
from saldiag.rules.shared.wording import at, label, number


class VanishingGradients(Rule):
    """Gradients fall by orders of magnitude from layer to layer toward the input.

    ## What it does
    Takes |dL/d(output)| of every layer with a trainable kernel in the order of execution (without
    the gradient flow: the norm of the kernel's gradient, in the median over the recorded steps)
    and fits a line to its logarithm over depth. One small number is no finding; a steady fall
    through the whole depth is, unless the overfit test shows that the model learns all the same.

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
    - `tau` = 0.7: Kendall's rank correlation of norm and depth, so that it is a trend and not one
      layer.
    - `min_layers` = 6: fewest layers with a kernel that make a trend.
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
        if learns_all_the_same(measured):
            return
        source = source_of(measured, trend.layers[0])
        yield self.finding(
            f"{label(trend.layers[0])}: gradients fall {number(trend.decades)} decades over "
            f"{len(trend.layers)} layers, from {number(trend.last)} ({label(trend.layers[-1])}) to "
            f"{number(trend.first)} (threshold {number(limits['decades'])}). "
            f"Use relu with he_normal, or residual connections{at(source)}",
            'activation="relu", kernel_initializer="he_normal"',
            layers=(trend.layers[0],),
            evidence={**trend.evidence(), "threshold": limits["decades"]},
            source=source,
            confidence=0.9,
        )
