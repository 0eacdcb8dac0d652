"""What an intervention may use of the model under test."""

from __future__ import annotations

from typing import Any, Protocol

from saldiag.core.measurement import Wiring
from saldiag.experiments.interventions.change import Batches


class VariableSampler(Protocol):
    """Draws initial values of variables."""

    def draw_variable(self, variable: Any, initializer: Any, seed: int, number: int) -> None:
        """Assign values drawn from ``initializer``.

        ``number`` distinguishes variables that are drawn with the same seed.
        """


class Workbench(Protocol):
    """A compiled model on a few batches, whose state is restored after each change."""

    @property
    def model(self) -> Any:
        """The compiled Keras model."""

    @property
    def batches(self) -> Batches:
        """Batches as tuples of numpy arrays: inputs, targets and sample weights, if any."""

    @property
    def wiring(self) -> Wiring | None:
        """How the layers are connected; None if the model could not be traced."""

    @property
    def layers(self) -> dict[str, Any]:
        """Every layer by its path; the model itself is the empty path."""

    @property
    def items(self) -> int:
        """Number of items in the batches."""

    @property
    def initial_states(self) -> VariableSampler:
        """Draws other values of variables before training."""

    @property
    def optimizer(self) -> Any:
        """The optimizer that the model was compiled with."""

    @property
    def had_optimizer_built(self) -> bool:
        """Whether the optimizer was built when the model was handed over."""
