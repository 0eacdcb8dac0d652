"""SD603: the data itself holds NaN."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements
from saldiag.rules.shared.wording import label, percent


class NonFiniteData(Rule):
    """Inputs or targets hold NaN.

    ## What it does
    Looks for NaN in the inputs and the targets of the measured batches.

    ## Why is this bad
    One NaN in one sample makes the loss of its batch NaN, and with the next step every weight.

    ## Example
    ```python
    inputs = frame.to_numpy()  # with empty cells
    ```

    ## Use instead
    ```python
    inputs = frame.fillna(frame.mean()).to_numpy()
    ```

    ## Threshold
    None: a single value is one too many (IEEE 754, 2019: every sum with NaN is NaN).
    """

    code = "SD603"
    name = "non-finite-data"
    severity = "error"
    requires = (DataFacts,)
    explains = {"SD204": "anywhere", "SD303": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        for kind, tensors in (("input", facts.inputs), ("target", facts.targets)):
            for tensor in tensors:
                if tensor.nan_share > 0:
                    yield self.finding(
                        f"{kind} {label(tensor.name)}: {percent(tensor.nan_share)} of the values "
                        "are NaN (threshold 0). Remove or fill them",
                        "x = np.nan_to_num(x)  # or leave these samples out",
                        evidence={
                            "tensor": tensor.name, "kind": kind,
                            "nan_share": tensor.nan_share, "threshold": 0.0,
                        },
                    )  # fmt: skip
