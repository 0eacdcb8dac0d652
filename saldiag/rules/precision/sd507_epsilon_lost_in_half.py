"""SD507: an epsilon that float16 rounds to 0."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import DtypeTrace, LostConstant, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, number

GUARDED_OPERANDS = {
    "Div": "a denominator",
    "DivNoNan": "a denominator",
    "Log": "the argument of log",
    "RealDiv": "a denominator",
    "Reciprocal": "a denominator",
    "Rsqrt": "the argument of rsqrt",
    "Sqrt": "the argument of sqrt",
}


class EpsilonLostInHalf(Rule):
    """A constant that keeps a logarithm or denominator from 0 is itself 0 in float16.

    ## What it does
    Finds, in custom layers and between layers, constants that are exactly 0 in float16 and are
    added to (or are a lower limit of) the argument of a logarithm, a root or a denominator. 1e-8,
    for example, becomes 0. Also reports an optimizer epsilon that rounds to 0 if the weights
    themselves are float16. Keras' own layers compute such operations in float32 and are not judged.

    ## Why is this bad
    The guard has no effect: the first 0 gives -inf or NaN, and a step with NaN ruins every weight
    or, under loss scaling, is skipped.

    ## Example
    ```python
    x = keras.ops.log(x + 1e-8)  # x is float16
    ```

    ## Use instead
    ```python
    x = keras.ops.log(keras.ops.cast(x, "float32") + 1e-8)
    ```

    ## Threshold
    - `zero` = 2.98e-8: half of float16's smallest positive number, 2^-24; values up to it round to
      0 (IEEE 754, 2019; Micikevicius et al., Mixed Precision Training, 2018, section 3).
    """

    code = "SD507"
    name = "epsilon-lost-in-half"
    severity = "warning"
    requires = (DtypeTrace,)
    thresholds = {"zero": 2.98e-8}
    explains = {
        "SD204": "anywhere",
        "SD206": "anywhere",
        "SD302": "anywhere",
        "SD303": "anywhere",
        "SD505": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        trace = measured.need(DtypeTrace)
        by_layer = {lost.layer: lost for lost in reversed(trace.lost_constants)}
        for layer in sorted(by_layer):
            yield self._lost_constant_finding(measured, by_layer[layer], limits["zero"])
        yield from self._optimizer_epsilon_findings(measured, trace, limits["zero"])

    def _lost_constant_finding(
        self, measured: Measurements, lost: LostConstant, zero: float
    ) -> Finding:
        source = source_of(measured, lost.layer) if lost.layer else None
        how = "added to" if lost.added_by != "Maximum" else "the lower limit of"
        operand = GUARDED_OPERANDS[lost.guards]
        return self.finding(
            f"{label(lost.layer)}: the constant {how} {operand} is 0 in float16 "
            f"(threshold {number(zero)}: values up to it round to 0). Compute this in float32, or "
            f"use 1e-4{at_line(source)}",
            'x = keras.ops.cast(x, "float32")  # before adding the epsilon',
            layers=(lost.layer,) if lost.layer else (),
            evidence={
                "constant": 0.0,
                "operation": lost.added_by,
                "guards": lost.guards,
                "threshold": zero,
            },
            source=source,
        )

    def _optimizer_epsilon_findings(
        self, measured: Measurements, trace: DtypeTrace, zero: float
    ) -> Iterable[Finding]:
        wiring = measured.get(Wiring)
        epsilon = wiring.optimizer_config.get("epsilon") if wiring is not None else None
        rows = [row for row in trace.rows if row.leaf and row.parameters]
        half = tuple(dict.fromkeys(row.layer for row in rows if row.variable == "float16"))
        if wiring is None or not half or not isinstance(epsilon, float) or epsilon > zero:
            return
        yield self.finding(
            f"{label(wiring.optimizer)}: epsilon {number(epsilon)} is 0 in float16 (threshold "
            f"{number(zero)}), the dtype of the weights of {counted(len(half), 'layer')}: the "
            "update divides by 0. Keep the weights in float32",
            'keras.config.set_dtype_policy("mixed_float16")  # keeps weights in float32',
            layers=half,
            evidence={"epsilon": epsilon, "layers": len(half), "threshold": zero},
            severity="error",
        )
