"""SD613: a table column with the same value in all samples."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements, TensorFacts
from saldiag.core.wording import counted, label, listed, number


class ConstantColumn(Rule):
    """A column of the input table has the same value in all samples.

    ## What it does
    Checks inputs that are tables of floats (samples by up to 1,000 columns) for columns that are
    constant in the measured samples, and lists their indices. The finding is a note: in a table
    with one-hot or sparse columns, some are 0 in a few samples. SD604 reports a table that is
    constant as a whole.

    ## Why is this bad
    A constant column carries no information. If it should, the information was lost on the way: by
    a cast to integers, by a join without matches, or by scaling with another column's range.

    ## Example
    ```python
    table[:, 3] = (table[:, 3] / 255).astype(int)  # truncates to 0
    ```

    ## Use instead
    ```python
    table[:, 3] = table[:, 3] / 255
    ```

    ## Threshold
    - `min_samples` = 16: minimum number of samples; the comparison is exact. Removing inputs
      without variance before modelling is common practice (Kuhn & Johnson, Applied Predictive
      Modeling, 2013, section 3.5).
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
                f"needs at least {limits['min_samples']:.0f} samples, got {facts.samples}"
            )
        for tensor in facts.inputs:
            if tensor.constant and len(tensor.constant) < (tensor.shape[-1] or 0):
                yield self._constant_columns_finding(tensor, tensor.constant, facts.samples, limits)

    def _constant_columns_finding(
        self, tensor: TensorFacts, columns: tuple[int, ...], samples: int, limits: Thresholds
    ) -> Finding:
        single = len(columns) == 1
        return self.finding(
            f"{label(tensor.name)}: {len(columns)} of {counted(tensor.shape[-1] or 0, 'column')} "
            f"{'is' if single else 'are'} constant in {counted(samples, 'sample')} (threshold "
            f"{number(limits['min_samples'])}): {'index' if single else 'indices'} "
            f"{listed(map(str, columns), 5)}. Remove {'it' if single else 'them'}, unless the "
            "table is sparse",
            f"print(x[:, {columns[0]}])  # right before model.fit",
            evidence={
                "columns": list(columns),
                "samples": samples,
                "threshold": limits["min_samples"],
            },
        )
