"""SD504: layers compute in float64 in a model of lower precision."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import DtypeTrace, Measurements
from saldiag.core.wording import at_line, label, listed


class Float64ByAccident(Rule):
    """Layers with weights compute in float64 in a model with another policy.

    ## What it does
    Finds layers with weights whose compute dtype is float64 in a model with another policy. A model
    that computes entirely in float64 does so on purpose and is not reported.

    ## Why is this bad
    float64 is NumPy's default and rarely intended here. It needs twice the memory, runs at 1/32 of
    the speed of float32 on most GPUs, and has no benefit, because the values are cast on the way in
    and out.

    ## Example
    ```python
    x = keras.layers.Dense(64, dtype=np.random.rand(4).dtype)(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64)(x)  # the policy's dtype
    ```

    ## Threshold
    None: the check is exact (Gupta et al., Deep Learning with Limited Numerical Precision, 2015,
    train with 16 bits, so 64 bits are not needed).
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
            return  # all layers are float64 on purpose
        source = source_of(measured, double[0])
        yield self.finding(
            f"{listed(double)}: float64 under policy {label(trace.policy)}, in {len(double)} of "
            f"{len({row.layer for row in weighted})} layers with weights. "
            f"Remove the dtype argument{at_line(source)}",
            'dtype="float32"  # or no dtype argument',
            layers=double,
            evidence={"policy": trace.policy, "layers": len(double)},
            source=source,
        )
