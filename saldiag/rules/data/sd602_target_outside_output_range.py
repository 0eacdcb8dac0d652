"""SD602: targets that the output cannot reach."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LayerCall, Measurements, TensorFacts, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import RANGES, weighs_classes
from saldiag.rules.shared.wording import at, label, number


class TargetOutsideOutputRange(Rule):
    """Targets lie outside what the output's activation can produce.

    ## What it does
    Compares the range of each target with that of the activation which makes the output (sigmoid
    and softmax 0 … 1, tanh -1 … 1, relu from 0 on). Class numbers (sparse losses) and hinge losses,
    which turn the target themselves, are left alone. So are one-hot targets that a policy gradient
    has multiplied by returns or advantages, under categorical cross-entropy.

    ## Why is this bad
    The error cannot come down to 0, and the output is driven to its limit, where its derivative is
    next to nothing.

    ## Example
    ```python
    masks = np.asarray(Image.open("mask.png"))  # 0 and 255, for a sigmoid
    ```

    ## Use instead
    ```python
    masks = np.asarray(Image.open("mask.png")) / 255.0
    ```

    ## Threshold
    - `margin` = 0.01: how far outside, as a share of the range's width (of 1 for a range without
      an upper end). Targets at the limits themselves are usual; LeCun et al. (Efficient BackProp,
      1998, section 4.5) advise to stay within them.
    """

    code = "SD602"
    name = "target-outside-output-range"
    severity = "error"
    by_loss = True
    requires = (Wiring, DataFacts)
    thresholds = {"margin": 0.01}
    explains = {
        "SD801": "anywhere", "SD802": "anywhere", "SD804": "anywhere", "SD807": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(DataFacts)
        if "sparse" in wiring.loss or "hinge" in wiring.loss:
            return
        heads = Network(wiring).heads()
        if len(heads) != len(facts.targets):
            raise CannotJudge(
                f"{len(heads)} outputs and {len(facts.targets)} targets: cannot be paired"
            )
        for head, target in zip(heads, facts.targets, strict=True):
            low, high = RANGES.get(head.activation or "", (-math.inf, math.inf))
            width = high - low if math.isfinite(high - low) else 1.0
            outside = max(low - target.minimum, target.maximum - high) / width
            if outside > limits["margin"] and not weighs_classes(wiring, target):
                yield self._outside(measured, head, target, outside, limits["margin"])

    def _outside(
        self,
        measured: Measurements,
        head: LayerCall,
        target: TensorFacts,
        outside: float,
        limit: float,
    ) -> Finding:
        low, high = RANGES[head.activation or ""]
        source = source_of(measured, head.layer)
        return self.finding(
            f"{label(head.layer)}: its {head.activation} gives {number(low)} … {number(high)}, "
            f"the targets run from {number(target.minimum)} to {number(target.maximum)}, "
            f"{number(outside)} of the width outside (threshold {number(limit)}). "
            f"Scale the targets, or change the activation{at(source)}",
            "y = y / 255.0" if target.maximum == 255 else 'activation="linear"',
            layers=(head.layer,),
            evidence={
                "output_range": [low, high],
                "target_minimum": target.minimum,
                "target_maximum": target.maximum,
                "outside": outside,
                "threshold": limit,
            },
            source=source,
        )
