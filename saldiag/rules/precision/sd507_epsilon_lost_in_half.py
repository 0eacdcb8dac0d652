"""SD507: an epsilon that float16 rounds to 0."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import DtypeTrace, LostConstant, Measurements, Wiring
from saldiag.rules.shared.wording import at, counted, label, number

CALLED = {
    "Div": "a division", "DivNoNan": "a division", "Log": "log", "RealDiv": "a division",
    "Reciprocal": "a division", "Rsqrt": "rsqrt", "Sqrt": "sqrt",
}  # fmt: skip


class EpsilonLostInHalf(Rule):
    """A constant that keeps a logarithm or a denominator from 0 is itself 0 in float16.

    ## What it does
    Finds, in the user's own layers and between layers, a constant of exactly 0 in float16 that is
    added to (or a lower limit of) what goes into a logarithm, a root or a denominator: that is what
    1e-8 becomes. Also reported is an optimizer's epsilon that rounds to 0 where the weights
    themselves are float16. Keras' own layers compute such things in float32, and are left alone.

    ## Why is this bad
    The guard is not there: the first 0 gives -inf or NaN, and a step with NaN ruins every weight,
    or, under loss scaling, is left out.

    ## Example
    ```python
    x = keras.ops.log(x + 1e-8)  # x is float16
    ```

    ## Use instead
    ```python
    x = keras.ops.log(keras.ops.cast(x, "float32") + 1e-8)
    ```

    ## Threshold
    - `zero` = 2.98e-8: half of float16's smallest number, 2^-24; what is not above it is rounded to
      0 (IEEE 754, 2019; Micikevicius et al., Mixed Precision Training, 2018, section 3).
    """

    code = "SD507"
    name = "epsilon-lost-in-half"
    severity = "warning"
    requires = (DtypeTrace,)
    thresholds = {"zero": 2.98e-8}
    explains = {
        "SD204": "anywhere", "SD206": "anywhere", "SD302": "anywhere", "SD303": "anywhere",
        "SD505": "anywhere", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        trace = measured.need(DtypeTrace)
        by_layer = {lost.layer: lost for lost in reversed(trace.lost_constants)}
        for layer in sorted(by_layer):
            yield self._constant(measured, by_layer[layer], limits["zero"])
        yield from self._optimizer(measured, trace, limits["zero"])

    def _constant(self, measured: Measurements, lost: LostConstant, zero: float) -> Finding:
        source = source_of(measured, lost.layer) if lost.layer else None
        how = "added to" if lost.added_by != "Maximum" else "the lower limit of"
        return self.finding(
            f"{label(lost.layer)}: the constant {how} what goes into {CALLED[lost.guards]} is 0 in "
            f"float16 (threshold {number(zero)}: what is not above it becomes 0). Compute this in "
            f"float32, or take 1e-4{at(source)}",
            'x = keras.ops.cast(x, "float32")  # before the epsilon is added',
            layers=(lost.layer,) if lost.layer else (),
            evidence={
                "constant": 0.0,
                "operation": lost.added_by,
                "guards": lost.guards,
                "threshold": zero,
            },
            source=source,
        )

    def _optimizer(
        self, measured: Measurements, trace: DtypeTrace, zero: float
    ) -> Iterable[Finding]:
        wiring = measured.get(Wiring)
        epsilon = wiring.optimizer_config.get("epsilon") if wiring is not None else None
        rows = [row for row in trace.rows if row.leaf and row.parameters]
        half = tuple(dict.fromkeys(row.layer for row in rows if row.variable == "float16"))
        if wiring is None or not half or not isinstance(epsilon, float) or epsilon > zero:
            return
        yield self.finding(
            f"{label(wiring.optimizer)}: epsilon is {number(epsilon)}, which is 0 in float16 "
            f"(threshold {number(zero)}), and the weights of {counted(len(half), 'layer')} are "
            "float16: the update divides by 0. Keep the weights in float32",
            'keras.config.set_dtype_policy("mixed_float16")  # weights in float32',
            layers=half,
            evidence={"epsilon": epsilon, "layers": len(half), "threshold": zero},
            severity="error",
        )
