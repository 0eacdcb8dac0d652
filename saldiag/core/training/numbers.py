"""The settings that every run of ``saldiag train`` has, whatever it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

from saldiag.core.errors import SaldiagError

Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True)
class TrainingNumbers:
    """How long to train, in which batches, and from which seed.

    Raises:
        SaldiagError: a number is out of its range; the message names it.
    """

    epochs: int = 50
    """Largest number of epochs."""
    batch_size: int = 32
    """Items in a batch."""
    learning_rate: float | None = None
    """Learning rate; None for the recipe's own or, of a compiled model, the optimizer's."""
    patience: int = 10
    """Epochs without a lower validation loss after which training stops."""
    precision: Precision = "auto"
    """Dtype policy that the model is built under."""
    seed: int = 0
    """Global seed, from 0 to 2**32 - 1."""
    recalibrate: bool = False
    """Whether to re-estimate BatchNormalization's statistics from training batches before each
    validation."""

    COUNTS: ClassVar[tuple[str, ...]] = ("epochs", "batch_size", "patience")
    """Fields that are at least 1."""
    AMOUNTS: ClassVar[tuple[str, ...]] = ("learning_rate",)
    """Fields that are positive and finite, or None."""

    def __post_init__(self) -> None:
        for name in self.COUNTS:
            if getattr(self, name) < 1:
                raise SaldiagError(f"{name} is at least 1, not {getattr(self, name)}")
        for name in self.AMOUNTS:
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise SaldiagError(f"{name} is a positive number, not {value:g}")
        if not 0 <= self.seed < 2**32:
            raise SaldiagError(f"seed is from 0 to {2**32 - 1}, not {self.seed}")
        if self.precision not in PRECISIONS:
            raise SaldiagError(f"precision is one of {', '.join(PRECISIONS)}, not {self.precision}")

    @property
    def too_large(self) -> str:
        """Error message if a batch does not fit into memory."""
        return f"not enough memory for batches of {self.batch_size}: try a smaller --batch-size"

    def resolved(self) -> tuple[Self, str | None]:
        """The same with a definite precision, and a line for the user if it was chosen here."""
        return replace(self, precision="float32") if self.precision == "auto" else self, None

    def compiled(self, model: Any) -> tuple[Any, ...]:  # noqa: ARG002 - it comes compiled
        """Compile the model, if these numbers say how; the metrics that only validation pays for.

        The base leaves the model as it was compiled where it was made.
        """
        return ()
