"""The training recipe of the QUICKSAL case: its numbers, its metrics, its image-and-mask data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasModel
from saldiag.core.training.numbers import TrainingNumbers
from saldiag.image_masks.pipeline import find_damage, make_dataset
from saldiag.image_masks.storage import Item
from saldiag.recipes.cyclic_lr import TriangularCyclicalLearningRate
from saldiag.recipes.losses import loss_by_name
from saldiag.recipes.metrics import saliency_metrics
from saldiag.recipes.saliency import BETA2
from saldiag.recipes.training import TrainingData, compile_model


@dataclass(frozen=True)
class Recipe(TrainingNumbers):
    """The numbers of the QUICKSAL training run.

    ``learning_rate``, if given, is a constant rate instead of the triangular cycle. ``precision``
    ``auto`` means mixed_float16 on a GPU and float32 on a CPU, on which half-precision convolutions
    are about ten times slower.

    Raises:
        SaldiagError: a number is out of range; the message names it.
    """

    image_size: int = 224
    """Side of the images in pixels."""
    loss: str = "mae"
    """Name of a loss, of ``losses.LOSSES``."""
    base_learning_rate: float = 1e-4
    """Lowest learning rate of the cycle."""
    max_learning_rate: float = 1e-3
    """Highest learning rate of the cycle."""
    step_size: int = 2000
    """Optimizer steps of half a cycle."""
    beta2: float = BETA2
    """Beta squared of the F-beta metrics."""

    COUNTS = (*TrainingNumbers.COUNTS, "image_size", "step_size")
    AMOUNTS = (*TrainingNumbers.AMOUNTS, "base_learning_rate", "max_learning_rate", "beta2")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.schedule()
        loss_by_name(self.loss)

    def schedule(self) -> float | TriangularCyclicalLearningRate:
        """The learning rate, a number or a schedule, as ``compile_model`` takes it."""
        if self.learning_rate is not None:
            return self.learning_rate
        return TriangularCyclicalLearningRate(
            self.base_learning_rate, self.max_learning_rate, self.step_size
        )

    def resolved(self) -> tuple[Recipe, str | None]:
        """The recipe with a definite precision, and a line for the user if it was ``auto``."""
        if self.precision != "auto":
            return self, None
        if tf.config.list_physical_devices("GPU"):
            return replace(self, precision="mixed_float16"), "precision mixed_float16 on the GPU"
        note = "precision float32: there is no GPU, and half precision is slow on a CPU"
        return replace(self, precision="float32"), note

    @property
    def too_large(self) -> str:
        """The error message if a batch does not fit into memory."""
        return (
            f"not enough memory for batches of {self.batch_size} at"
            f" {self.image_size}x{self.image_size}: try a smaller --batch-size or --image-size"
        )

    def compiled(self, model: KerasModel) -> tuple[Any, ...]:
        """Compile the model with the recipe's loss, rate and metrics; returns the metrics."""
        metrics = saliency_metrics(self.beta2)
        compile_model(model, loss=self.loss, learning_rate=self.schedule(), metrics=metrics)
        return tuple(metrics)


def training_data(
    train: Sequence[Item], validation: Sequence[Item], recipe: Recipe
) -> TrainingData:
    """The batches of the recipe; the training pairs are shuffled by seed and epoch.

    Args:
        train: pairs to train on.
        validation: pairs to validate with.
        recipe: image size, batch size and seed.

    Raises:
        DataError: a file is missing or damaged, or there are no pairs to validate with.
    """

    def batches(first_epoch: int) -> Any:
        return make_dataset(
            train, recipe.image_size, recipe.batch_size,
            shuffle_seed=recipe.seed, first_epoch=first_epoch, repeat=True,
        )  # fmt: skip

    return TrainingData(
        train=batches,
        steps=math.ceil(len(train) / recipe.batch_size),
        validation=make_dataset(validation, recipe.image_size, recipe.batch_size),
        damage=lambda: find_damage([*train, *validation]),
    )
