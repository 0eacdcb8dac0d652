"""The measures of saliency maps used in the field, one image at a time, in numpy.

Every function takes a prediction in [0, 1] and a mask (both H x W; anything above 0.5 in the mask
is foreground) and agrees with PySODMetrics called with ``normalize=False``. PySODMetrics' default
first stretches each prediction to the full range [0, 1], as the benchmarks' MATLAB code does;
``stretch_range`` is that step. It is not the default here because it hides what a diagnosis is
after: it turns a nearly constant prediction into a confident one.

``beta2`` is beta squared, 0.3 throughout the field (Achanta et al., CVPR 2009).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import correlate1d, distance_transform_edt

Array = np.ndarray[Any, Any]

BETA2 = 0.3
"""Beta squared of every F-beta measure."""
LEVELS = 256
"""Levels of an 8-bit map, at which it is thresholded."""
_EPSILON = float(np.spacing(1))  # MATLAB's eps, as in the reference implementations


def stretch_range(prediction: Array) -> Array:
    """The prediction quantised to 8 bits and stretched to [0, 1], as PySODMetrics reads files.

    A constant prediction is only quantised.
    """
    levels = np.round(np.clip(prediction, 0, 1) * 255).astype(np.uint8) / 255
    low, high = levels.min(), levels.max()
    return levels if low == high else (levels - low) / (high - low)


def mean_absolute_error(prediction: Array, mask: Array) -> float:
    """Mean absolute error (Perazzi et al., CVPR 2012)."""
    prediction, truth = _check_pair(prediction, mask)
    return float(np.abs(prediction - truth).mean())


def f_beta_curve(prediction: Array, mask: Array, beta2: float = BETA2) -> Array:
    """F-beta of the map thresholded at each of the 256 levels, highest first (256,)."""
    prediction, truth = _check_pair(prediction, mask)
    inside, outside = _counts_above(prediction, truth)
    return _f_beta(inside, inside + outside, truth.sum(), beta2)


def adaptive_f_beta(prediction: Array, mask: Array, beta2: float = BETA2) -> float:
    """F-beta of the map thresholded at twice its mean, at most 1 (Achanta et al., CVPR 2009)."""
    prediction, truth = _check_pair(prediction, mask)
    cut = prediction >= min(2 * prediction.mean(), 1)
    return float(_f_beta((cut & truth).sum(), cut.sum(), truth.sum(), beta2))


def weighted_f_beta(prediction: Array, mask: Array, beta2: float = BETA2) -> float:
    """Weighted F-beta (Margolin, Zelnik-Manor and Tal, CVPR 2014); 0 where the mask is empty.

    An error inside the object counts less if its neighbours have none; an error outside counts
    more with its distance from the object.
    """
    prediction, truth = _check_pair(prediction, mask)
    if not truth.any():
        return 0.0
    error = np.abs(prediction - truth)
    distance, nearest = distance_transform_edt(~truth, return_indices=True)
    spread = np.where(truth, error, error[nearest[0], nearest[1]])
    smooth = correlate1d(spread, _WEIGHTED_F_BETA_KERNEL, axis=0, mode="constant")
    smooth = correlate1d(smooth, _WEIGHTED_F_BETA_KERNEL, axis=1, mode="constant")
    error = np.where(truth, np.minimum(error, smooth), error)
    error *= np.where(truth, 1.0, 2 - np.exp(np.log(0.5) / 5 * distance))
    hits = truth.sum() - error[truth].sum()
    recall = 1 - error[truth].mean()
    precision = hits / (hits + error[~truth].sum() + _EPSILON)
    return float((1 + beta2) * recall * precision / (recall + beta2 * precision + _EPSILON))


def s_measure(prediction: Array, mask: Array, alpha: float = 0.5) -> float:
    """Structure measure (Fan et al., ICCV 2017): object part and region part, weighted."""
    prediction, truth = _check_pair(prediction, mask)
    share = truth.mean()
    if share in (0, 1):
        return float(prediction.mean() if share else 1 - prediction.mean())
    inside = _object_similarity(prediction[truth]) * share
    outside = _object_similarity(1 - prediction[~truth]) * (1 - share)
    score = alpha * (inside + outside) + (1 - alpha) * _region_similarity(prediction, truth)
    return float(max(0.0, score))


def e_measure_curve(prediction: Array, mask: Array) -> Array:
    """Enhanced-alignment measure (Fan et al., IJCAI 2018) at each of 256 levels (256,)."""
    prediction, truth = _check_pair(prediction, mask)
    inside, outside = _counts_above(prediction, truth)
    return _enhanced_alignment(inside, outside, truth)


def adaptive_e_measure(prediction: Array, mask: Array) -> float:
    """Enhanced-alignment measure of the map thresholded at twice its mean, at most 1."""
    prediction, truth = _check_pair(prediction, mask)
    cut = prediction >= min(2 * prediction.mean(), 1)
    return float(_enhanced_alignment((cut & truth).sum(), (cut & ~truth).sum(), truth))


def _check_pair(prediction: Array, mask: Array) -> tuple[Array, Array]:
    """Both as H x W: float64 clipped to [0, 1], and bool.

    Raises:
        ValueError: the shapes differ or are not H x W, or the prediction holds NaN or infinity.
    """
    if prediction.shape != mask.shape or prediction.ndim != 2:
        raise ValueError(
            f"prediction {prediction.shape} and mask {mask.shape} must have the same shape (H, W)"
        )
    if not np.isfinite(prediction).all():
        raise ValueError("the prediction holds non-finite values")
    return np.clip(prediction.astype(np.float64), 0, 1), mask > 0.5


def _gaussian_kernel(size: int, sigma: float) -> Array:
    """One axis of MATLAB's ``fspecial('gaussian', size, sigma)``, which is separable."""
    offsets = np.arange(size) - (size - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum())


_WEIGHTED_F_BETA_KERNEL = _gaussian_kernel(7, 5.0)


def _counts_above(prediction: Array, truth: Array) -> tuple[Array, Array]:
    """Pixels at or above each level, highest level first: inside the object and outside."""
    levels = (prediction * 255).astype(np.uint8)
    inside = np.bincount(levels[truth], minlength=LEVELS)
    outside = np.bincount(levels[~truth], minlength=LEVELS)
    return np.cumsum(inside[::-1]), np.cumsum(outside[::-1])


def _f_beta(hits: Any, positives: Any, truths: Any, beta2: float) -> Array:
    """F-beta from counts; 0 where nothing is hit.

    This is (1 + beta²) p r / (beta² p + r) with p = hits / positives and r = hits / truths,
    simplified so that only one division can be by zero.
    """
    denominator = beta2 * np.asarray(truths) + positives
    return np.asarray((1 + beta2) * hits / np.maximum(denominator, _EPSILON))


def _object_similarity(values: Array) -> float:
    deviation = values.std(ddof=1) if values.size > 1 else 0.0
    return float(2 * values.mean() / (values.mean() ** 2 + 1 + deviation + _EPSILON))


def _region_similarity(prediction: Array, truth: Array) -> float:
    """SSIM of the four quadrants about the object's centroid, weighted by their area."""
    row, column = (int(c) + 1 for c in np.argwhere(truth).mean(axis=0).round())
    total = 0.0
    for rows in (slice(0, row), slice(row, None)):
        for columns in (slice(0, column), slice(column, None)):
            part = truth[rows, columns]
            if part.size:
                total += part.size / truth.size * _ssim(prediction[rows, columns], part)
    return total


def _ssim(prediction: Array, truth: Array) -> float:
    x, y, n = prediction.mean(), truth.mean(), truth.size - 1 + _EPSILON
    spread = (((prediction - x) ** 2).sum() + ((truth - y) ** 2).sum()) / n
    joint = 4 * x * y * ((prediction - x) * (truth - y)).sum() / n
    whole = (x**2 + y**2) * spread
    if joint == 0:
        return 1.0 if whole == 0 else 0.0
    return float(joint / (whole + _EPSILON))


def _enhanced_alignment(inside: Any, outside: Any, truth: Array) -> Array:
    """Enhanced alignment from the counts of predicted pixels inside and outside the object."""
    size, share = truth.size, truth.mean()
    if share in (0, 1):
        predicted = np.asarray(inside + outside)
        return np.asarray((predicted if share else size - predicted) / (size - 1 + _EPSILON))
    mean = (inside + outside) / size
    missed = truth.sum() - inside
    parts = (
        (inside, 1 - mean, 1 - share),
        (outside, 1 - mean, -share),
        (missed, -mean, 1 - share),
        (size - inside - outside - missed, -mean, -share),
    )
    total = sum(
        count * (2 * p * g / (p**2 + g**2 + _EPSILON) + 1) ** 2 / 4 for count, p, g in parts
    )
    return np.asarray(total / (size - 1 + _EPSILON))
