"""Scores of predicted masks against ground truths, per image and over a data set.

Masks are scored in 8 bits, as they are written to PNG files: reading the files and calling
PySODMetrics with ``normalize=False`` gives the same numbers. With ``stretched=True`` each mask is
first stretched to the full range, as published benchmarks do (PySODMetrics' default).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from PIL import Image

from saldiag.core.measurement import DatasetScores, MaskScores
from saldiag.recipes import saliency

Array = np.ndarray[Any, Any]


class MaskScorer:
    """Scores masks one by one and accumulates the means over all of them.

    Args:
        stretched: stretch each predicted mask to 0…255 before scoring it.
    """

    def __init__(self, *, stretched: bool = False) -> None:
        self.stretched = stretched
        self.count = 0
        self._curves = np.zeros((2, saliency.LEVELS))
        self._sums: dict[str, float] = {}

    def add(self, prediction: Array, mask: Array) -> MaskScores:
        """Score one mask; max-F and mean-F in the result are those of this image's own curve.

        Args:
            prediction: uint8 (H, W); 255 is certainly salient.
            mask: bool (H, W), the ground truth.

        Raises:
            ValueError: the shapes differ.
        """
        levels = prediction / 255.0
        if self.stretched:
            levels = saliency.stretch_range(levels)
        curves = np.stack(
            [saliency.f_beta_curve(levels, mask), saliency.e_measure_curve(levels, mask)]
        )
        plain = {
            "mae": saliency.mean_absolute_error(levels, mask),
            "adaptive_f_beta": saliency.adaptive_f_beta(levels, mask),
            "weighted_f_beta": saliency.weighted_f_beta(levels, mask),
            "s_measure": saliency.s_measure(levels, mask),
            "adaptive_e_measure": saliency.adaptive_e_measure(levels, mask),
        }
        self.count += 1
        self._curves += curves
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in plain.items()}
        return _build_scores(plain, curves)

    def over(self, dataset: str) -> DatasetScores | None:
        """The means over all images so far; None before the first. ``dataset`` is the name."""
        if not self.count:
            return None
        means = {name: total / self.count for name, total in self._sums.items()}
        return DatasetScores(dataset, self.count, _build_scores(means, self._curves / self.count))


def _build_scores(plain: dict[str, float], curves: Array) -> MaskScores:
    f_beta, e_measure = curves
    values = {
        **plain,
        "max_f_beta": float(f_beta.max()),
        "mean_f_beta": float(f_beta.mean()),
        "max_e_measure": float(e_measure.max()),
        "mean_e_measure": float(e_measure.mean()),
    }
    return MaskScores(**{field.name: values[field.name] for field in fields(MaskScores)})


def resize_mask(mask: Array, size: tuple[int, int]) -> Array:
    """Resize a predicted mask, float32 (h, w) in [0, 1], to uint8 of height and width ``size``.

    Bilinear; pixels are averaged where the mask shrinks.
    """
    height, width = size
    picture = Image.fromarray(np.asarray(mask, np.float32))
    scaled = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    return np.round(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)
