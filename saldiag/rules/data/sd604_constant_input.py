"""SD604: all samples have the same input."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements, TensorFacts
from saldiag.core.wording import counted, label, number


class ConstantInput(Rule):
    """All samples have the same input, although their targets differ.

    ## What it does
    Measures the variation of each input across samples, relative to its overall spread. Reports the
    data only if no input varies: a constant input beside the real one, such as a mask of ones, is
    common.

    ## Why is this bad
    The model cannot distinguish samples with equal inputs. The best such model predicts the mean
    target.

    ## Example
    ```python
    images = (images / 255.0).astype("uint8")  # truncates to 0
    ```

    ## Use instead
    ```python
    images = images.astype("float32") / 255.0
    ```

    ## Threshold
    - `variation` = 1e-6: variation across samples divided by the overall spread. It is more than
      ten times the rounding error of float32 (2^-24; IEEE 754, 2019).
    - `target_variation` = 0.001: the same ratio for the targets, which must differ.
    - `min_samples` = 4: minimum number of samples. Karpathy (A Recipe for Training Neural Networks,
      2019) advises inspecting the inputs right before they enter the model.
    """

    code = "SD604"
    name = "constant-input"
    severity = "error"
    requires = (DataFacts,)
    thresholds = {"variation": 1e-6, "target_variation": 0.001, "min_samples": 4}
    explains = {
        "SD201": "anywhere",
        "SD202": "anywhere",
        "SD203": "anywhere",
        "SD301": "anywhere",
        "SD302": "anywhere",
        "SD402": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        if facts.samples < limits["min_samples"]:
            raise CannotJudge(
                f"needs at least {limits['min_samples']:.0f} samples, got {facts.samples}"
            )
        differ = any(
            _variation_across_samples(t) > limits["target_variation"] for t in facts.targets
        )
        constant = [
            tensor
            for tensor in facts.inputs
            if _variation_across_samples(tensor) <= limits["variation"]
        ]
        if not differ or not constant or len(constant) < len(facts.inputs):
            return
        first = constant[0]
        values = (
            f"every value is {number(first.minimum)}"
            if first.minimum == first.maximum
            else f"values from {number(first.minimum)} to {number(first.maximum)}"
        )
        yield self.finding(
            f"{label(first.name)}: the same in all {counted(facts.samples, 'sample')} ({values}), "
            f"variation {number(_variation_across_samples(first))} "
            f"(threshold {number(limits['variation'])}), although the targets differ. "
            "Check how inputs are read and cast",
            "print(x.min(), x.max(), x.std(axis=0).max())  # right before model.fit",
            evidence={
                "variation": _variation_across_samples(first),
                "threshold": limits["variation"],
                "minimum": first.minimum,
                "maximum": first.maximum,
                "samples": facts.samples,
            },
        )


def _variation_across_samples(facts: TensorFacts) -> float:
    """Variation across samples; 0 if all values are equal, where the measured ratio is 0/0."""
    return 0.0 if facts.minimum == facts.maximum else facts.sample_variation
