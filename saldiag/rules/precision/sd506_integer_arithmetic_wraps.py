"""SD506: integers that overflow, or that a cast or division reduces to one number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DtypeTrace, Measurements, OverfitHistory, WrappedIntegers
from saldiag.core.wording import at_line, label, percent
from saldiag.rules.verdicts.overfit import verdict_of

OPERATION_NAMES = {
    "Div": "an integer division",
    "FloorDiv": "an integer division",
    "TruncateDiv": "an integer division",
    "Add": "a sum",
    "AddV2": "a sum",
    "Cast": "a cast from floats",
    "Mul": "a product",
    "Neg": "a negation",
    "Square": "a square",
    "Sub": "a difference",
}
INTEGER_RANGES = {
    "int8": "-128 to 127",
    "int16": "-32768 to 32767",
    "uint8": "0 to 255",
    "uint16": "0 to 65535",
}


class IntegerArithmeticWraps(Rule):
    """Arithmetic on integers of 8 or 16 bits overflows and wraps around.

    ## What it does
    Recomputes each sum, difference and product of 8- and 16-bit integers that depends on the input,
    using wide integers on one batch, and compares the results. Also reports casts of floats that do
    not fit. Not judged: integers of 32 and 64 bits, which hashes let overflow on purpose, and
    integers that only enter the model, because Keras' layers convert them to floats.

    For integers of any size, also reports a cast from floats or an integer division that turns
    different values into one number, as ``x // 255`` turns images into 0. Not reported if the
    values are also used in another way (a constant day beside a varying minute). If the model
    learns in the overfit test, this is a note.

    ## Why is this bad
    For bytes, ``x - 128`` is 255 instead of -1: dark and bright are swapped, and small differences
    become the largest. TensorFlow does not warn.

    ## Example
    ```python
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    x = (inputs - 128) / 128
    ```

    ## Use instead
    ```python
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    x = (keras.ops.cast(inputs, "float32") - 128) / 128
    ```

    ## Threshold
    - `wrapped` = 0.001: share of results outside of the range (our own choice, to ignore a stray
      value). Unsigned integers wrap around at 0 as in C (ISO/IEC 9899, 1999, section 6.2.5).
    """

    code = "SD506"
    name = "integer-arithmetic-wraps"
    severity = "warning"
    requires = (DtypeTrace,)
    thresholds = {"wrapped": 0.001}
    explains = {
        "SD115": "upstream",
        "SD201": "same_path",
        "SD202": "same_path",
        "SD301": "downstream",
        "SD302": "downstream",
        "SD402": "same_path",
        "SD601": "anywhere",
        "SD801": "anywhere",
        "SD802": "anywhere",
        "SD803": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wrapped = measured.need(DtypeTrace).wrapped
        if wrapped is None:
            raise CannotJudge("no batch was run through the model")
        reported: set[str] = set()
        for found in wrapped:
            if found.share > limits["wrapped"] and found.layer not in reported:
                reported.add(found.layer)
                finding_of = self._single_number_finding if found.flat else self._overflow_finding
                yield finding_of(measured, found, limits["wrapped"])

    def _single_number_finding(
        self, measured: Measurements, found: WrappedIntegers, threshold: float
    ) -> Finding:
        source = source_of(measured, found.layer) if found.layer else None
        operation = OPERATION_NAMES.get(found.op, found.op)
        learns = verdict_of(measured.get(OverfitHistory))[0] == "learns"
        return self.finding(
            f"{label(found.layer)}: {operation} to {found.dtype} turns "
            f"different values into one number ({percent(found.share)} of the results are equal; "
            f"threshold {percent(threshold)}), and the information is lost. Keep the values "
            f"in float32{at_line(source)}",
            'x = keras.ops.cast(x, "float32") / 255.0',
            **_layers_and_evidence(found, threshold),
            source=source,
            severity="info" if learns else "warning",
        )

    def _overflow_finding(
        self, measured: Measurements, found: WrappedIntegers, threshold: float
    ) -> Finding:
        source = source_of(measured, found.layer) if found.layer else None
        operation = OPERATION_NAMES.get(found.op, found.op)
        return self.finding(
            f"{label(found.layer)}: {operation} overflows {found.dtype} "
            f"({INTEGER_RANGES.get(found.dtype, '8 or 16 bits')}) in "
            f"{percent(found.share)} of its values (threshold {percent(threshold)}) and wraps "
            f"around. Cast to float32 first{at_line(source)}",
            'x = keras.ops.cast(x, "float32")  # before the arithmetic',
            **_layers_and_evidence(found, threshold),
            source=source,
        )


def _layers_and_evidence(found: WrappedIntegers, threshold: float) -> dict[str, Any]:
    """The arguments ``layers`` and ``evidence`` of a finding."""
    return {
        "layers": (found.layer,) if found.layer else (),
        "evidence": {
            "operation": found.op,
            "dtype": found.dtype,
            "share": found.share,
            "threshold": threshold,
        },
    }
