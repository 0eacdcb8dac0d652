"""Scores the best checkpoint of a training on images that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras

from saldiag.app.loading.mask_model import MaskModel, as_mask_model
from saldiag.app.session.session import Session
from saldiag.core.errors import DataError, SaldiagError
from saldiag.core.measurement import HeldOutScores
from saldiag.core.wording import counted
from saldiag.image_masks.decode import read_mask
from saldiag.image_masks.storage import Item
from saldiag.recipes.mask_scores import MaskScorer, resize_mask

if TYPE_CHECKING:
    from saldiag.experiments.training.loop import TrainingOutcome

MAX_SCORED_IMAGES = 1000
"""Largest number of images to score: 25 ms each for the metrics, and a forward pass."""
SCORE_BATCH_SIZE = 8
"""Images in a batch: small enough for the memory that the training leaves."""


@dataclass(frozen=True)
class HeldOut:
    """Images with ground truths that a training run is scored on."""

    dataset: str
    """Name of the data set."""
    part: Literal["test", "validation"]
    """``test`` if not used in the training, ``validation`` if used to choose the best epoch."""
    items: Sequence[Item]
    """The images and their masks."""
    image_size: int | None
    """Side in pixels as given on the command line; None for the model's own."""
    pixels: str
    """Range of the pixel values as given on the command line."""
    trained_at: int
    """Side in pixels that a model of any size was trained at."""


def score_held_out(
    session: Session, model: Any, outcome: TrainingOutcome, held_out: HeldOut
) -> None:
    """Add the scores to the session, or the reason why there are none.

    The model gets the weights of the best epoch during the scoring, and then its own again.
    """
    if outcome.best is None or outcome.best_path is None:
        session.mark_missing(HeldOutScores, "no epoch had a finite validation loss")
        return
    epoch, path = outcome.best.epoch + 1, outcome.best_path
    with session.phase("scoring held-out images"):
        try:
            with _with_weights_from(model, path):
                session.try_measuring(
                    HeldOutScores, lambda: _score_items(session, model, epoch, held_out)
                )  # fmt: skip
        except (SaldiagError, ValueError, OSError) as error:
            session.mark_missing(HeldOutScores, " ".join(str(error).split())[:300])


def _score_items(session: Session, model: Any, epoch: int, held_out: HeldOut) -> HeldOutScores:
    """The scores over at most ``MAX_SCORED_IMAGES`` images; ``epoch`` counts from 1.

    Raises:
        SaldiagError: the model does not predict masks in [0, 1], or no image can be read.
    """
    masks = as_mask_model(
        model,
        image_size=held_out.image_size,
        pixels=held_out.pixels,
        where="the model",
        trained_at=held_out.trained_at,
    )
    items = held_out.items[:MAX_SCORED_IMAGES]
    if len(items) < len(held_out.items):
        session.print_note(f"scoring {len(items):,} of {len(held_out.items):,} held-out images")
    scorer, unreadable = MaskScorer(), []
    for start in range(0, len(items), SCORE_BATCH_SIZE):
        unreadable += _score_batch(masks, items[start : start + SCORE_BATCH_SIZE], scorer)
    if unreadable:
        session.print_note(
            f"{counted(len(unreadable), 'held-out image')} could not be read: {unreadable[0]}"
        )
    over = scorer.over(held_out.dataset)
    if over is None:
        raise DataError("there is no held-out image to score")
    return HeldOutScores((over,), held_out.part, len(held_out.items), epoch, masks.frame.size)


def _score_batch(model: MaskModel, items: Sequence[Item], scorer: MaskScorer) -> list[DataError]:
    """Score a batch; returns an error for each image that cannot be read."""
    inputs, truths, unreadable = [], [], []
    for item in items:
        try:
            read = model.prepare_image(item.image), read_mask(item.mask)
        except DataError as error:
            unreadable.append(error)
            continue
        inputs.append(read[0])
        truths.append(read[1])
    if inputs:
        for mask, truth in zip(model.predict_masks(inputs), truths, strict=True):
            scorer.add(resize_mask(mask, truth.shape), truth)
    return unreadable


@contextmanager
def _with_weights_from(model: Any, path: Path) -> Iterator[None]:
    """Give the model the weights in a checkpoint until the block ends."""
    variables = [*model.variables, *(model.optimizer.variables if model.optimizer else ())]
    kept = [keras.ops.convert_to_numpy(variable) for variable in variables]
    try:
        model.load_weights(path)  # from a .keras file, this loads the optimizer's state as well
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
