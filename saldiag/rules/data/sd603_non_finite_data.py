"""SD603: NaN in the data."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements
from saldiag.core.wording import label, percent


class NonFiniteData(Rule):
    """Inputs or targets contain NaN.

    ## What it does
    Checks the inputs and targets of the measured batches for NaN.

    ## Why is this bad
    One NaN in one sample makes the loss of its batch NaN, and the next step makes every weight NaN.

    ## Example
    ```python
    inputs = frame.to_numpy()  # contains empty cells
    ```

    ## Use instead
    ```python
    inputs = frame.fillna(frame.mean()).to_numpy()
    ```

    ## Threshold
    None: a single NaN is an error (IEEE 754, 2019: every sum with NaN is NaN).
    """

    code = "SD603"
    name = "non-finite-data"
    severity = "error"
    requires = (DataFacts,)
    explains = {"SD204": "anywhere", "SD303": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(DataFacts)
        for kind, name, tensors in (
            ("input", "x", facts.inputs),
            ("target", "y", facts.targets),
        ):
            for tensor in tensors:
                if tensor.nan_share > 0:
                    yield self.finding(
                        f"{kind} {label(tensor.name)}: {percent(tensor.nan_share)} of the values "
                        "are NaN (threshold 0). Replace them, or remove the samples",
                        f"{name} = np.nan_to_num({name})  # or remove these samples",
                        evidence={
                            "tensor": tensor.name,
                            "kind": kind,
                            "nan_share": tensor.nan_share,
                            "threshold": 0.0,
                        },
                    )
