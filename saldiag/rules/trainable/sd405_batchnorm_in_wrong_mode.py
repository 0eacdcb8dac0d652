"""SD405: a BatchNorm layer runs in a mode that contradicts its settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, NormalizationRow, TrainableStatus
from saldiag.core.wording import at_line, counted, listed


class BatchnormInWrongMode(Rule):
    """A frozen BatchNorm runs in training mode, or a new, trainable one in inference mode.

    ## What it does
    Finds BatchNorm layers whose weights are not trained but which still normalise with batch
    statistics, and trainable BatchNorm layers that run in inference mode and still hold their
    initial moving statistics. (Fine-tuning a pretrained encoder in inference mode is correct and is
    not reported.)

    ## Why is this bad
    In training mode, a frozen layer's moving statistics drift, and pretrained features change with
    every batch. In inference mode with its initial statistics (mean 0, variance 1), BatchNorm has
    no effect.

    ## Example
    ```python
    encoder.trainable = False  # before its layers were built: their own flags stay True
    x = encoder(x, training=True)
    ```

    ## Use instead
    ```python
    x = encoder(x, training=False)
    ```

    ## Threshold
    None; the check is exact (Ioffe & Szegedy, Batch Normalization, 2015, algorithm 2; Keras' guide
    on transfer learning and fine-tuning, 2023).
    """

    code = "SD405"
    name = "batchnorm-in-wrong-mode"
    severity = "warning"
    requires = (TrainableStatus,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        status = measured.need(TrainableStatus)
        frozen = _frozen_batchnorms(status)
        moving = [row for row in status.normalization if row.path in frozen and row.training_mode]
        idle = [
            row
            for row in status.normalization
            if row.path not in frozen and row.training_mode is False and row.at_start
        ]
        if moving:
            yield self._in_wrong_mode(
                measured, moving, _FROZEN_BUT_MOVING, "x = layer(x, training=False)"
            )
        if idle:
            yield self._in_wrong_mode(
                measured, idle, _TRAINABLE_BUT_IDLE, "x = layer(x)  # without training=False"
            )

    def _in_wrong_mode(
        self,
        measured: Measurements,
        rows: Sequence[NormalizationRow],
        what: tuple[str, str],
        fix: str,
    ) -> Finding:
        layers = tuple(row.path for row in rows)
        problem, advice = (text.format(them="it" if len(layers) == 1 else "them") for text in what)
        source = source_of(measured, layers[0])
        return self.finding(
            f"{listed(layers)}: {counted(len(layers), 'BatchNorm layer')} {problem}. {advice}"
            f"{at_line(source)}",
            fix,
            layers=layers,
            evidence={"layers": len(layers), "training_mode": rows[0].training_mode},
            source=source,
        )


_FROZEN_BUT_MOVING = (
    "frozen, but normalising with batch statistics in training",
    "Call {them} with training=False",
)
_TRAINABLE_BUT_IDLE = (
    "trainable, but run in inference mode with the initial statistics (mean 0, variance 1), "
    "which has no effect",
    "Call {them} without training=False",
)
"""The problem, and what to change; ``them`` is *it* for a single layer."""


def _frozen_batchnorms(status: TrainableStatus) -> set[str]:
    """BatchNorm layers flagged frozen, or whose gamma and beta the model does not train."""
    scales_and_offsets = [row for row in status.rows if row.role in ("gamma", "beta")]
    with_scale_or_offset = {row.layer for row in scales_and_offsets}
    trains = {row.layer for row in scales_and_offsets if row.in_model}
    return {
        row.path
        for row in status.normalization
        if not row.trainable or (row.path in with_scale_or_offset and row.path not in trains)
    }
