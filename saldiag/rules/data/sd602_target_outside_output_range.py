"""SD602: targets that the output cannot reach."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LayerCall, Measurements, TensorFacts, Wiring
from saldiag.core.wording import at_line, label, number
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import RANGES, weighs_classes


class TargetOutsideOutputRange(Rule):
    """Targets lie outside the range of the output activation.

    ## What it does
    Compares the range of each target with the range of the activation that computes the output
    (sigmoid and softmax 0 … 1, tanh -1 … 1, relu from 0). Not judged: class numbers (sparse
    losses), hinge losses, which convert the targets themselves, and one-hot targets multiplied by
    returns or advantages under categorical cross-entropy, as in policy gradients.

    ## Why is this bad
    The error cannot reach 0, and training drives the output to its limit, where the derivative is
    almost 0.

    ## Example
    ```python
    masks = np.asarray(Image.open("mask.png"))  # 0 and 255, for a sigmoid
    ```

    ## Use instead
    ```python
    masks = np.asarray(Image.open("mask.png")) / 255.0
    ```

    ## Threshold
    - `margin` = 0.01: largest distance of a target from the range, as a share of the range's width
      (of 1 if the range has no upper limit). Targets at the limits themselves are common; LeCun et
      al. (Efficient BackProp, 1998, section 4.5) advise targets inside of them.
    """

    code = "SD602"
    name = "target-outside-output-range"
    severity = "error"
    by_loss = True
    requires = (Wiring, DataFacts)
    thresholds = {"margin": 0.01}
    explains = {
        "SD801": "anywhere",
        "SD802": "anywhere",
        "SD804": "anywhere",
        "SD807": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(DataFacts)
        if "sparse" in wiring.loss or "hinge" in wiring.loss:
            return
        heads = Network(wiring).heads()
        if len(heads) != len(facts.targets):
            raise CannotJudge(
                f"outputs ({len(heads)}) and targets ({len(facts.targets)}) cannot be paired"
            )
        for head, target in zip(heads, facts.targets, strict=True):
            low, high = RANGES.get(head.activation or "", (-math.inf, math.inf))
            width = high - low if math.isfinite(high - low) else 1.0
            outside = max(low - target.minimum, target.maximum - high) / width
            if outside > limits["margin"] and not weighs_classes(wiring, target):
                yield self._unreachable_target_finding(
                    measured, head, target, outside, limits["margin"]
                )

    def _unreachable_target_finding(
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
            f"{label(head.layer)}: {head.activation} outputs {number(low)} … {number(high)}, but "
            f"the targets range from {number(target.minimum)} to {number(target.maximum)} "
            f"(relative excess {number(outside)}, threshold {number(limit)}). "
            f"Scale the targets, or change the activation{at_line(source)}",
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
