"""SD504: layers compute in float64 in a model of lower precision."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import DtypeTrace, Measurements
from saldiag.rules.shared.wording import at, label, listed


class Float64ByAccident(Rule):
    """Layers with weights compute in float64, though the model's policy is another.

    ## What it does
    Looks for layers with weights whose compute dtype is float64 in a model whose policy is not. A
    model that is float64 as a whole is so on purpose, and left alone.

    ## Why is this bad
    float64 is what NumPy makes by default, and hardly what was wanted: twice the memory, and on
    most GPUs a thirty-second of float32's speed; the values are cast on the way in and out, so
    that nothing is gained.

    ## Example
    ```python
    x = keras.layers.Dense(64, dtype=np.random.rand(4).dtype)(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64)(x)  # the policy's dtype
    ```

    ## Threshold
    None, it is exact (Gupta et al., Deep Learning with Limited Numerical Precision, 2015, train
    with 16 bits: 64 are not what is missing).
    """

    code = "SD504"
    name = "float64-by-accident"
    severity = "warning"
    requires = (DtypeTrace,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        trace = measured.need(DtypeTrace)
        if "float64" in trace.policy:
            return
        weighted = [row for row in trace.rows if row.leaf and row.parameters]
        double = tuple(dict.fromkeys(row.layer for row in weighted if row.compute == "float64"))
        if not double or len(double) == len({row.layer for row in weighted}):
            return  # all of them: on purpose
        source = source_of(measured, double[0])
        yield self.finding(
            f"{listed(double)}: float64 under policy {label(trace.policy)}, in {len(double)} of "
            f"{len({row.layer for row in weighted})} layers with weights. "
            f"Leave dtype to the policy{at(source)}",
            'dtype="float32"  # or no dtype at all',
            layers=double,
            evidence={"policy": trace.policy, "layers": len(double)},
            source=source,
        )
