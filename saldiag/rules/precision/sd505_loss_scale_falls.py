"""SD505: the loss scale keeps falling."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import GradientHistory, Measurements, Wiring
from saldiag.core.wording import at_line, counted, listed, number, percent


class LossScaleFalls(Rule):
    """Dynamic loss scaling keeps halving the loss scale.

    ## What it does
    Counts the recorded steps that halved the loss scale, in total and in the second half of the
    steps. A scale that starts too high falls within a few steps and then stays. A scale that still
    falls in the second half belongs to gradients that no scale makes finite.

    ## Why is this bad
    Each halving skips an optimizer step, and Keras sets no lower limit: soon the scale is below 1,
    every gradient is 0 in float16, and the model stops training without a message.

    ## Example
    ```python
    length = keras.ops.sqrt(keras.ops.sum(x * x, axis=-1))  # its gradient at x = 0 is NaN
    ```

    ## Use instead
    ```python
    length = keras.ops.sqrt(keras.ops.sum(x * x, axis=-1) + 1e-6)
    ```

    ## Threshold
    - `halvings` = 8: halvings of the scale over all recorded steps, without a single doubling. From
      Keras' initial 32768, eight halvings lead to 128; Micikevicius et al. (Mixed Precision
      Training, 2018, section 4) train all their networks with scales between 8 and 32768.
    - `late` = 2: halvings in the second half of the steps. Our own choice: a stable scale is halved
      only after it was doubled, which Keras does after 2000 finite steps.
    - `fewest` = 20: minimum number of recorded steps.
    """

    code = "SD505"
    name = "loss-scale-falls"
    severity = "error"
    requires = (GradientHistory,)
    thresholds = {"halvings": 8, "late": 2, "fewest": 20}
    explains = {"SD201": "anywhere", "SD202": "anywhere", "SD206": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history, wiring = measured.need(GradientHistory), measured.get(Wiring)
        if wiring is not None and not wiring.loss_scaled:
            return
        scale = history.loss_scale
        if len(scale) < limits["fewest"]:
            raise CannotJudge(
                f"a trend needs at least {limits['fewest']:.0f} recorded steps, got {len(scale)}"
            )
        ratio = scale[1:] / scale[:-1]
        halvings = int(np.rint(np.log2(scale[0] / scale[-1]))) if scale[-1] > 0 else 0
        late = int(np.sum(ratio[len(ratio) // 2 :] < 1))
        if np.any(ratio > 1) or halvings < limits["halvings"] or late < limits["late"]:
            return
        layers, share = _layers_and_skipped_share(history)
        source = source_of(measured, layers[0]) if layers else None
        where = f"; NaN or infinite gradients in {listed(layers)}" if layers else ""
        yield self.finding(
            f"the loss scale falls from {number(float(scale[0]))} to {number(float(scale[-1]))} in "
            f"{counted(len(scale), 'step')}: {halvings} halvings (threshold "
            f"{number(limits['halvings'])}), {late} of them in the second half; {percent(share)} "
            f"of the steps were skipped{where}. Find the operation whose gradient is not "
            f"finite{at_line(source)}",
            "x = keras.ops.sqrt(x + 1e-6)  # likewise for the inputs of log and division",
            layers=layers,
            evidence={
                "halvings": halvings,
                "late_halvings": late,
                "first_scale": float(scale[0]),
                "last_scale": float(scale[-1]),
                "steps": len(scale),
                "skipped_share": share,
                "threshold": limits["halvings"],
            },
            source=source,
        )


def _layers_and_skipped_share(history: GradientHistory) -> tuple[tuple[str, ...], float]:
    """Layers with gradients that were not finite, and the share of steps with such gradients."""
    bad = np.nan_to_num(history.nonfinite_share, nan=0.0) > 0
    layers = (v.layer for i, v in enumerate(history.variables) if bad[:, i].any())
    return tuple(dict.fromkeys(layers)), float(bad.any(axis=1).mean())
