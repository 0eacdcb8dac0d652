"""The triangular cyclical learning rate (Smith, WACV 2017, arXiv 1506.01186, section 3.1)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from saldiag.core.errors import SaldiagError


@keras.saving.register_keras_serializable(package="saldiag")
class TriangularCyclicalLearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from ``base`` to ``maximum`` in ``step_size`` steps, and falls back in as many.

    The period is exactly ``2 * step_size`` steps; step 0 has the rate ``base``. Smith recommends a
    ``step_size`` of 2 to 10 epochs.

    Args:
        base: the lowest learning rate.
        maximum: the highest learning rate.
        step_size: half a cycle, in optimizer steps.

    Raises:
        SaldiagError: the rates are not ``0 <= base <= maximum``, or ``step_size`` is below 1.
    """

    def __init__(self, base: float, maximum: float, step_size: int) -> None:
        super().__init__()
        if not 0 <= base <= maximum:
            raise SaldiagError(
                f"a cyclical learning rate needs 0 <= base <= maximum, not {base:g} and {maximum:g}"
            )
        if step_size < 1:
            raise SaldiagError(
                f"half a learning rate cycle must have at least 1 step, not {step_size}"
            )
        self.base = float(base)
        self.maximum = float(maximum)
        self.step_size = int(step_size)

    def __call__(self, step: Any) -> Any:
        """The learning rate at ``step`` (a scalar integer tensor), as a float32 scalar."""
        # Integer remainders are exact; step / step_size in float32 would drift after some million
        # steps.
        step_in_cycle = ops.mod(ops.cast(step, "int64"), 2 * self.step_size)
        share = 1 - ops.abs(ops.cast(step_in_cycle, "float32") / self.step_size - 1)
        return self.base + (self.maximum - self.base) * share

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"base": self.base, "maximum": self.maximum, "step_size": self.step_size}
