"""SD503: single layers in float32 inside a half-precision network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Cast, DtypeRow, DtypeTrace, Measurements
from saldiag.core.wording import at_line, counted, listed, percent

HALF_PRECISION_DTYPES = frozenset({"float16", "bfloat16"})


class Float32Islands(Rule):
    """Single float32 layers between half-precision layers cost two casts each.

    ## What it does
    Under a mixed policy, finds leaf layers without weights that compute in float32 between layers
    that compute in half precision, and adds up the bytes that the casts around them write per
    batch. Not judged: layers with weights (including normalisation), which can need the precision,
    and a float32 output layer, which is correct.

    ## Why is this bad
    An activation does not need more digits than its input has. Each island writes its tensor two
    more times, once at twice the width, which costs the memory and time that mixed precision saves.

    ## Example
    ```python
    x = keras.layers.Activation("relu", dtype="float32")(x)
    x = keras.layers.Conv2D(64, 3)(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Activation("relu")(x)
    x = keras.layers.Conv2D(64, 3)(x)
    ```

    ## Threshold
    - `share` = 0.1: share of all leaf calls above which the finding is a warning; otherwise it is a
      note. Keras' guide on mixed precision (2023) recommends float32 for the last layer only.
    """

    code = "SD503"
    name = "float32-islands"
    severity = "warning"
    requires = (DtypeTrace,)
    thresholds = {"share": 0.1}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        trace = measured.need(DtypeTrace)
        if not trace.policy.startswith("mixed_"):
            return
        rows = [row for row in trace.rows if row.leaf]
        islands = _float32_islands(rows)
        if not islands:
            return
        share = len(islands) / len(rows)
        size = _cast_bytes(islands, rows, trace.casts)
        layers = tuple(dict.fromkeys(row.layer for row in islands))
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: {counted(len(islands), 'layer call')} in float32 inside a "
            f"{trace.policy} network, {percent(share)} of all (threshold "
            f"{percent(limits['share'])}); their casts write {size / 2**20:.1f} MiB per batch of "
            f"{trace.batch_size}. Remove the dtype argument{at_line(source)}",
            'keras.layers.Activation("relu")  # without dtype="float32"',
            layers=layers,
            evidence={
                "calls": len(islands),
                "share": share,
                "threshold": limits["share"],
                "cast_bytes": size,
                "batch_size": trace.batch_size,
            },
            source=source,
            severity="warning" if share > limits["share"] else "info",
        )


def _float32_islands(rows: Sequence[DtypeRow]) -> list[DtypeRow]:
    """Float32 rows without weights between the first and last half-precision row with weights."""
    half = [
        index
        for index, row in enumerate(rows)
        if row.compute in HALF_PRECISION_DTYPES and row.parameters
    ]
    if not half:
        return []
    between = rows[half[0] : half[-1]]
    return [row for row in between if row.compute == "float32" and not row.parameters]


def _cast_bytes(
    islands: Sequence[DtypeRow], rows: Sequence[DtypeRow], casts: Sequence[Cast]
) -> int:
    """Bytes that the casts into the islands, and back in the calls after them, write per batch."""
    paths = [row.path for row in rows]
    inside = {row.path for row in islands}
    after = {path for before, path in pairwise(paths) if before in inside} - inside
    return sum(
        cast.size
        for cast in casts
        if cast.path in inside or (cast.path in after and cast.before == "float32")
    )
