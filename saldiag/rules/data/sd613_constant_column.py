"""SD613: a column of the table is the same in all samples."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements, TensorFacts
from saldiag.rules.shared.wording import counted, label, listed, number


class ConstantColumn(Rule):
    """A column of the input table is one number in all samples.

    ## What it does
    Looks through inputs that are tables of floats (samples by up to 1,000 columns) for columns that
    never change among the samples looked at, and names them by their place. It is a note: a table
    with one-hot or sparse columns has some that are 0 in a few samples. A table that is constant as
    a whole is left to SD604.

    ## Why is this bad
    Such a column tells nothing. Where it was to tell something, it was lost on the way: by a cast
    to integers, by a join that found nothing, by scaling with the wrong column's range.

    ## Example
    ```python
    table[:, 3] = (table[:, 3] / 255).astype(int)  # 0, all of them
    ```

    ## Use instead
    ```python
    table[:, 3] = table[:, 3] / 255
    ```

    ## Threshold
    - `min_samples` = 16: fewest samples to tell from; it is exact among them. That inputs without
      variance are dropped before modelling is usual (Kuhn & Johnson, Applied Predictive Modeling,
      2013, section 3.5).
    """

    code = "SD613"
    name = "constant-column"
    severity = "info"
    requires = (DataFacts,)
    thresholds = {"min_samples": 16}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        if facts.samples < limits["min_samples"]:
            raise CannotJudge(
                f"{counted(facts.samples, 'sample')} seen, needs {limits['min_samples']:.0f}"
            )
        for tensor in facts.inputs:
            if tensor.constant and len(tensor.constant) < (tensor.shape[-1] or 0):
                yield self._constant(tensor, tensor.constant, facts.samples, limits)

    def _constant(
        self, tensor: TensorFacts, columns: tuple[int, ...], samples: int, limits: Thresholds
    ) -> Finding:
        return self.finding(
            f"{label(tensor.name)}: {len(columns)} of {counted(tensor.shape[-1] or 0, 'column')} "
            f"the same in all of {counted(samples, 'sample')} (threshold "
            f"{number(limits['min_samples'])}): {listed(map(str, columns), 5)}, counted from 0. "
            "Look whether that is meant, as in a sparse table, or leave them out",
            f"print(x[:, {columns[0]}])  # right before the model",
            evidence={
                "columns": list(columns), "samples": samples, "threshold": limits["min_samples"],
            },
        )  # fmt: skip
