"""SD604: every sample's input is the same."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements, TensorFacts
from saldiag.rules.shared.wording import counted, label, number


class ConstantInput(Rule):
    """All samples have the same input, though their targets differ.

    ## What it does
    Takes the spread of each input across the samples, relative to its overall spread. Speaks up
    only where no input differs between samples: one that is the same for all, such as a mask of
    ones beside the real input, is usual.

    ## Why is this bad
    Samples that look alike cannot be told apart: the best model predicts the mean target.

    ## Example
    ```python
    images = (images / 255.0).astype("uint8")  # 0, all of them
    ```

    ## Use instead
    ```python
    images = images.astype("float32") / 255.0
    ```

    ## Threshold
    - `variation` = 1e-6: spread across samples over the overall spread; ten times the rounding of
      float32 (2^-24; IEEE 754, 2019).
    - `target_variation` = 0.001: the same for the targets, which must differ.
    - `min_samples` = 4: fewest samples to tell. That one should look at the inputs right before
      they enter the model is the advice of Karpathy (A Recipe for Training Neural Networks, 2019).
    """

    code = "SD604"
    name = "constant-input"
    severity = "error"
    requires = (DataFacts,)
    thresholds = {"variation": 1e-6, "target_variation": 0.001, "min_samples": 4}
    explains = {
        "SD201": "anywhere", "SD202": "anywhere", "SD203": "anywhere", "SD301": "anywhere",
        "SD302": "anywhere", "SD402": "anywhere", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        if facts.samples < limits["min_samples"]:
            raise CannotJudge(
                f"{counted(facts.samples, 'sample')} seen, needs {limits['min_samples']:.0f}"
            )
        differ = any(_spread(t) > limits["target_variation"] for t in facts.targets)
        alike = [tensor for tensor in facts.inputs if _spread(tensor) <= limits["variation"]]
        if not differ or not alike or len(alike) < len(facts.inputs):
            return
        first = alike[0]
        values = (
            f"every value is {number(first.minimum)}"
            if first.minimum == first.maximum
            else f"values from {number(first.minimum)} to {number(first.maximum)}"
        )
        yield self.finding(
            f"{label(first.name)}: the same for all of {counted(facts.samples, 'sample')} "
            f"({values}); variation {number(_spread(first))} "
            f"(threshold {number(limits['variation'])}), while the targets differ. "
            "Look at how inputs are read and cast",
            "print(x.min(), x.max(), x.std(axis=0).max())  # right before the model",
            evidence={
                "variation": _spread(first),
                "threshold": limits["variation"],
                "minimum": first.minimum,
                "maximum": first.maximum,
                "samples": facts.samples,
            },
        )


def _spread(facts: TensorFacts) -> float:
    """The sample variation; 0 where all values are one number, for which it is 0/0."""
    return 0.0 if facts.minimum == facts.maximum else facts.sample_variation
