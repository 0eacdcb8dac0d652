"""The training recipe of the case, as data, and how a model is compiled for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from saldiag.core.errors import DataError
from saldiag.core.training.numbers import TrainingNumbers
from saldiag.image_masks.pipeline import find_damage, make_dataset
from saldiag.image_masks.storage import Item
from saldiag.recipes.cyclic_lr import TriangularCyclicalLearningRate
from saldiag.recipes.losses import loss_by_name
from saldiag.recipes.metrics import saliency_metrics
from saldiag.recipes.saliency import BETA2


@dataclass(frozen=True)
class Recipe(TrainingNumbers):
    """Every number of the training run that started saldiag; sizes in pixels, rates per step.

    ``learning_rate`` is a constant rate in place of the triangular cycle between
    ``base_learning_rate`` and ``max_learning_rate``, of which ``step_size`` steps are one half.
    ``precision`` ``auto`` is the recipe's mixed_float16 on a GPU, and float32 on a CPU, whose
    half-precision convolutions are about ten times slower.

    Raises:
        SaldiagError: a number is out of its range; the message names it.
    """

    image_size: int = 224
    loss: str = "mae"
    base_learning_rate: float = 1e-4
    max_learning_rate: float = 1e-3
    step_size: int = 2000
    beta2: float = BETA2

    COUNTS = (*TrainingNumbers.COUNTS, "image_size", "step_size")
    AMOUNTS = (*TrainingNumbers.AMOUNTS, "base_learning_rate", "max_learning_rate", "beta2")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.schedule()
        loss_by_name(self.loss)

    def schedule(self) -> float | TriangularCyclicalLearningRate:
        """The learning rate as ``compile_model`` takes it."""
        if self.learning_rate is not None:
            return self.learning_rate
        return TriangularCyclicalLearningRate(
            self.base_learning_rate, self.max_learning_rate, self.step_size
        )

    def resolved(self) -> tuple[Recipe, str | None]:
        """The recipe with a definite precision, and one line that says so if it was chosen here."""
        if self.precision != "auto":
            return self, None
        if tf.config.list_physical_devices("GPU"):
            return replace(self, precision="mixed_float16"), "precision mixed_float16, on the GPU"
        note = "precision float32: there is no GPU, and a CPU is slow in half precision"
        return replace(self, precision="float32"), note

    @property
    def too_large(self) -> str:
        """What to say where memory is not enough for a batch."""
        return (
            f"not enough memory for batches of {self.batch_size} at"
            f" {self.image_size}x{self.image_size}: try a smaller --batch-size or --image-size"
        )

    def compiled(self, model: Any) -> tuple[Any, ...]:
        """Compile the model with the recipe's loss, rate and metrics, which are returned."""
        metrics = saliency_metrics(self.beta2)
        compile_model(model, loss=self.loss, learning_rate=self.schedule(), metrics=metrics)
        return tuple(metrics)


def compile_model(
    model: Any,
    *,
    loss: str | Any = "mae",
    learning_rate: float | Any = 1e-3,
    metrics: Sequence[Any] = (),
) -> Any:
    """Compile ``model`` with Adam, without XLA, and return it.

    Where the model was built under the mixed_float16 policy, Keras itself wraps the optimizer into
    a LossScaleOptimizer. XLA takes minutes and over 10 GB for this model on a CPU.

    Args:
        model: a Keras model.
        loss: a name of ``losses.LOSSES``, or a Keras loss.
        learning_rate: a number or a Keras learning rate schedule.
        metrics: Keras metrics.

    Raises:
        SaldiagError: no loss is called so.
    """
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=loss_by_name(loss) if isinstance(loss, str) else loss,
        metrics=list(metrics),
        jit_compile=False,
    )
    return model


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build models under that global dtype policy, and put the former one back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of one epoch, 32 bits: what is random in it depends on nothing before it."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


@dataclass(frozen=True)
class TrainingData:
    """Batches for a training run; both datasets yield (image, mask).

    ``train`` is called with the number of the epoch to begin with and gives batches from there on
    without end, ``steps`` of them an epoch. Its order must depend on the epoch's number alone: a
    dataset that reshuffles itself begins with the first order again after a resume.
    ``validation`` ends, and comes in the same order each time. ``damage`` looks for the file that
    cannot be read when reading fails while training.
    """

    train: Callable[[int], Any]
    steps: int
    validation: Any
    damage: Callable[[], DataError | None] = lambda: None

    def first_batch(self) -> Any:
        """The first batch of the first epoch.

        Raises:
            DataError: a file of it is damaged.
        """
        try:
            return next(iter(self.train(0)))
        except tf.errors.OpError as error:
            raise self.damage() or error from error


def training_data(
    train: Sequence[Item], validation: Sequence[Item], recipe: Recipe
) -> TrainingData:
    """The data of the recipe, shuffled anew in each epoch by its seed.

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
