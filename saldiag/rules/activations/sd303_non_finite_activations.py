"""SD303: a layer outputs NaN or infinity."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Activations, Measurements
from saldiag.core.wording import at_line, counted, label, percent


class NonFiniteActivations(Rule):
    """A layer's output contains NaN or infinity.

    ## What it does
    Names the first layer, in execution order, whose output for one batch contains a value that is
    not finite, and counts the later layer calls that are affected as well.

    ## Why is this bad
    NaN spreads to everything computed from it: the loss, every gradient and every weight.

    ## Example
    ```python
    x = keras.layers.Lambda(lambda t: keras.ops.log(t))(x)  # -inf at 0, NaN below 0
    ```

    ## Use instead
    ```python
    x = keras.layers.Lambda(lambda t: keras.ops.log(keras.ops.maximum(t, 1e-7)))(x)
    ```

    ## Threshold
    None: a single such value is an error (float16 overflows above 65504; IEEE 754, 2019).
    """

    code = "SD303"
    name = "non-finite-activations"
    severity = "error"
    requires = (Activations,)
    explains = {"SD204": "anywhere", "SD505": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        rows = [row for row in measured.need(Activations).rows if row.leaf]
        bad = [row for row in rows if row.nonfinite_share > 0]
        if not bad:
            return
        first = bad[0]
        source = source_of(measured, first.layer)
        later = f"; also in {counted(len(bad) - 1, 'later layer call')}" if len(bad) > 1 else ""
        yield self.finding(
            f"{label(first.layer)}: {percent(first.nonfinite_share)} of its output is NaN or "
            f"infinite (threshold 0){later}. Limit its input to a valid range{at_line(source)}",
            "x = keras.ops.clip(x, 1e-7, 6e4)  # before " + label(first.layer),
            layers=(first.layer,),
            evidence={
                "nonfinite_share": first.nonfinite_share,
                "calls": len(bad),
                "threshold": 0.0,
            },
            source=source,
        )
