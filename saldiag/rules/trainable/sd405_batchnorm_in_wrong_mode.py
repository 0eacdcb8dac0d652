"""SD405: BatchNorm's mode contradicts what it is set to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, NormalizationRow, TrainableStatus
from saldiag.rules.shared.wording import at, counted, listed


class BatchnormInWrongMode(Rule):
    """Frozen BatchNorm runs in training mode, or an untouched one never does.

    ## What it does
    Finds BatchNorm layers whose weights do not train and that normalise by the batch all the same,
    and BatchNorm layers that train, run in inference mode, and still hold the moving statistics
    they started with. (Fine-tuning a pretrained encoder in inference mode is right, and left
    alone.)

    ## Why is this bad
    In training mode a frozen layer's moving statistics drift, and pretrained features change with
    every batch. In inference mode at its start (mean 0, variance 1) BatchNorm does nothing.

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
    None, it is exact (Ioffe & Szegedy, Batch Normalization, 2015, algorithm 2; Keras' guide on
    transfer learning and fine-tuning, 2023).
    """

    code = "SD405"
    name = "batchnorm-in-wrong-mode"
    severity = "warning"
    requires = (TrainableStatus,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        status = measured.need(TrainableStatus)
        frozen = _frozen(status)
        moving = [row for row in status.normalization if row.path in frozen and row.training_mode]
        idle = [
            row
            for row in status.normalization
            if row.path not in frozen and row.training_mode is False and row.at_start
        ]
        if moving:
            yield self._wrong(measured, moving, _MOVING, "x = layer(x, training=False)")
        if idle:
            yield self._wrong(measured, idle, _IDLE, "x = layer(x)  # without training=False")

    def _wrong(
        self, measured: Measurements, rows: Sequence[NormalizationRow], what: str, fix: str
    ) -> Finding:
        layers = tuple(row.path for row in rows)
        source = source_of(measured, layers[0])
        return self.finding(
            f"{listed(layers)}: {counted(len(layers), 'BatchNorm layer')} {what}{at(source)}",
            fix,
            layers=layers,
            evidence={"layers": len(layers), "training_mode": rows[0].training_mode},
            source=source,
        )


_MOVING = "frozen, but normalising by the batch in training. Call with training=False"
_IDLE = (
    "set to train, but run in inference mode at the start values (mean 0, variance 1), "
    "which does nothing. Call without training=False"
)


def _frozen(status: TrainableStatus) -> set[str]:
    """BatchNorm layers flagged frozen, or whose gamma and beta the model does not train."""
    learnt = [row for row in status.rows if row.role in ("gamma", "beta")]
    has = {row.layer for row in learnt}
    trains = {row.layer for row in learnt if row.in_model}
    return {
        row.path
        for row in status.normalization
        if not row.trainable or (row.path in has and row.path not in trains)
    }
