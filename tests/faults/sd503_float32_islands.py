"""Every activation forced to float32."""

from __future__ import annotations

from saldiag.core.measurement import Cast, Measurements
from tests.support.measurements import CALLS, dtype_row, dtypes, healthy, wiring


def _trace(relu: str):
    def compute(path: str) -> str:
        return {"encoder/relu": relu, "output": "float32"}.get(path, "bfloat16")

    rows = tuple(dtype_row(c.path, c.kind, compute(c.path), c.parameters) for c in CALLS if c.leaf)
    casts = (
        Cast("encoder/relu", "bfloat16", "float32", 8192, 32768),
        Cast("head", "float32", "bfloat16", 8192, 16384),
        Cast("head/kernel", "float32", "bfloat16", 144, 288),
    )
    return dtypes(policy="mixed_bfloat16", rows=rows, casts=casts if relu == "float32" else ())


def broken() -> Measurements:
    return healthy(wiring(precision="mixed_bfloat16"), _trace("float32"))


def fixed() -> Measurements:
    return healthy(wiring(precision="mixed_bfloat16"), _trace("bfloat16"))
