"""Measurements of predicted masks: how well they match their ground truths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from saldiag.core.measurement.base import Measurement


@dataclass(frozen=True)
class MaskScores:
    """The metrics of salient-object detection, of one picture or as means over several.

    Computed as PySODMetrics does with ``normalize=False`` from 8-bit masks at the ground truth's
    own size. All are in [0, 1]; beta squared is 0.3 in every F-beta.
    """

    mae: float
    """Mean absolute error (Perazzi et al., CVPR 2012); lower is better."""
    max_f_beta: float
    """Highest point of the F-beta curve over 256 thresholds, of the mean curve over the pictures
    (Achanta et al., CVPR 2009)."""
    mean_f_beta: float
    """Mean of that curve."""
    adaptive_f_beta: float
    """F-beta of each mask cut at twice its own mean."""
    weighted_f_beta: float
    """Weighted F-beta (Margolin et al., CVPR 2014); PySODMetrics' default for it is beta 1."""
    s_measure: float
    """Structure measure (Fan et al., ICCV 2017), alpha 0.5."""
    mean_e_measure: float
    """Mean of the enhanced-alignment curve over 256 thresholds (Fan et al., IJCAI 2018)."""
    max_e_measure: float
    """Highest point of that curve, of the mean curve over the pictures."""
    adaptive_e_measure: float
    """Enhanced-alignment measure of each mask cut at twice its own mean."""


@dataclass(frozen=True)
class DatasetScores:
    """The scores of one data set."""

    dataset: str
    """Name of the data set."""
    pictures: int
    """Number of pictures with a ground truth that were scored."""
    scores: MaskScores
    """Means over these pictures."""


@dataclass(frozen=True)
class HeldOutScores(Measurement):
    """The best checkpoint of a training run on pictures that it wasn't trained on."""

    key: ClassVar[str] = "held_out"
    position: ClassVar[int] = 24
    rows: tuple[DatasetScores, ...]
    """One row for each data set."""
    part: str
    """Part of the data: ``test`` was not used in training at all, ``validation`` also selected the
    checkpoint."""
    available: int
    """Number of pictures in that part, scored or not."""
    epoch: int
    """Epoch of the checkpoint, counted from 1."""
    image_size: tuple[int, int]
    """Height and width in pixels to which the pictures were resized for the model."""
