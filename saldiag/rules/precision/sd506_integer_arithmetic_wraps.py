"""SD506: integers of few bits leave their range, or whole numbers keep nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DtypeTrace, Measurements, OverfitHistory, WrappedIntegers
from saldiag.rules.shared.wording import at, label, percent
from saldiag.rules.verdicts.overfit import verdict_of

CALLED = {
    "Div": "a division of whole numbers", "FloorDiv": "a division of whole numbers",
    "TruncateDiv": "a division of whole numbers",
    "Add": "a sum", "AddV2": "a sum", "Cast": "a cast from floats", "Mul": "a product",
    "Neg": "a negation", "Square": "a square", "Sub": "a difference",
}  # fmt: skip
RANGES = {"int8": "-128 to 127", "int16": "-32768 to 32767", "uint8": "0 to 255",
          "uint16": "0 to 65535"}  # fmt: skip


class IntegerArithmeticWraps(Rule):
    """Arithmetic on integers of 8 or 16 bits leaves their range and starts again at its other end.

    ## What it does
    Computes each sum, difference and product of such integers that comes from the input a second
    time in wide integers, on the batch at hand, and compares. Casts of floats that do not fit are
    reported as well. Integers of 32 and 64 bits, which hashes let overflow on purpose, are left
    alone, and so are integers that only go in: Keras makes floats of them in its layers. Integers
    of any size are reported where a cast from floats, or a division of whole numbers, makes one
    number of all that differed, as ``x // 255`` makes 0 of pictures, and nothing else is made of
    them (as the minute of the day is where the day is the same); as a note where the model learns
    all the same.

    ## Why is this bad
    ``x - 128`` of bytes is 255 where it was to be -1: dark and bright change places, and small
    differences become the largest there are. TensorFlow says nothing.

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
    - `wrapped` = 0.001: share of results that left the range (own choice, for a stray one; that
      unsigned integers start again at 0 is C's arithmetic, ISO/IEC 9899, 1999, section 6.2.5).
    """

    code = "SD506"
    name = "integer-arithmetic-wraps"
    severity = "warning"
    requires = (DtypeTrace,)
    thresholds = {"wrapped": 0.001}
    explains = {
        "SD115": "upstream", "SD201": "same_path", "SD202": "same_path", "SD301": "downstream",
        "SD302": "downstream", "SD402": "same_path", "SD601": "anywhere",
        "SD801": "anywhere", "SD802": "anywhere", "SD803": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wrapped = measured.need(DtypeTrace).wrapped
        if wrapped is None:
            raise CannotJudge("no batch was run through the model")
        told: set[str] = set()
        for found in wrapped:
            if found.share > limits["wrapped"] and found.layer not in told:
                told.add(found.layer)
                tell = self._keeps_nothing if found.flat else self._wraps
                yield tell(measured, found, limits["wrapped"])

    def _keeps_nothing(
        self, measured: Measurements, found: WrappedIntegers, threshold: float
    ) -> Finding:
        source = source_of(measured, found.layer) if found.layer else None
        learns = verdict_of(measured.get(OverfitHistory))[0] == "learns"
        return self.finding(
            f"{label(found.layer)}: {CALLED.get(found.op, found.op)} to {found.dtype} makes one "
            f"number of all values that went in ({percent(found.share)} of the results are the "
            f"same, threshold {percent(threshold)} that lose their value): nothing is left of "
            f"them. Divide floats, and keep them floats{at(source)}",
            'x = keras.ops.cast(x, "float32") / 255.0',
            **_told(found, threshold),
            source=source,
            severity="info" if learns else "warning",
        )

    def _wraps(self, measured: Measurements, found: WrappedIntegers, threshold: float) -> Finding:
        source = source_of(measured, found.layer) if found.layer else None
        return self.finding(
            f"{label(found.layer)}: {CALLED.get(found.op, found.op)} in {found.dtype} leaves its "
            f"range ({RANGES.get(found.dtype, 'few bits')}) in {percent(found.share)} of its "
            f"results (threshold {percent(threshold)}), and goes on from the other end. Cast to "
            f"float32 before{at(source)}",
            'x = keras.ops.cast(x, "float32")  # before the arithmetic',
            **_told(found, threshold),
            source=source,
        )


def _told(found: WrappedIntegers, threshold: float) -> dict[str, Any]:
    """Layers and evidence of a finding."""
    return {
        "layers": (found.layer,) if found.layer else (),
        "evidence": {
            "operation": found.op,
            "dtype": found.dtype,
            "share": found.share,
            "threshold": threshold,
        },
    }
