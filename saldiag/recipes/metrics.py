"""Saliency metrics for ``compile(metrics=[...])``, streaming over the images of an epoch.

Each takes masks in {0, 1} and predictions in [0, 1] of shape (B, H, W, 1), and averages over
images, as is usual in the field. ``saldiag.recipes.saliency`` has the same measures in numpy and
says how both relate to PySODMetrics. A non-finite prediction makes the result ``nan``.

MaxFBeta, MeanFBeta and AdaptiveFBeta consist of TensorFlow operations. WeightedFBeta needs an exact
distance transform and runs in Python on one core; its docstring has the cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from saldiag.recipes import saliency
from saldiag.recipes.saliency import BETA2, LEVELS, Array


class ImageMetric(keras.metrics.Metric):
    """A mean over images of one row of ``width`` numbers per image."""

    def __init__(self, name: str, width: int = 1, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.total = self.add_variable((width,), "zeros", name="total")
        self.images = self.add_variable((), "zeros", name="images")

    def image_rows(self, mask: Any, prediction: Any) -> Any:
        """The row of each image, (B, width); both arguments are float32 of shape (B, H*W)."""
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch; ``sample_weight`` has one weight per image, (B,) or (B, 1)."""
        values = ops.cast(self._checked_rows(y_true, y_pred), self.dtype)
        weights = ops.ones(ops.shape(values)[:1], self.dtype)
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        self.total.assign_add(ops.sum(values * weights[:, None], axis=0))
        self.images.assign_add(ops.sum(weights))

    def _checked_rows(self, y_true: Any, y_pred: Any) -> Any:
        mask, prediction = (
            ops.reshape(ops.cast(tensor, "float32"), (ops.shape(tensor)[0], -1))
            for tensor in (y_true, y_pred)
        )
        rows = self.image_rows(ops.cast(mask > 0.5, "float32"), ops.clip(prediction, 0, 1))
        finite = ops.all(ops.isfinite(prediction), axis=1)[:, None]
        return ops.where(finite, rows, np.nan)

    def mean_row(self) -> Any:
        """The mean row over the images so far (width,); ``nan`` before the first."""
        return ops.where(self.images > 0, self.total / ops.maximum(self.images, 1e-12), np.nan)

    def result(self) -> Any:
        """The metric's value, a scalar."""
        return self.mean_row()[0]


class FBeta(ImageMetric):
    """F-beta of the map thresholded at ``width`` levels; ``beta2`` is beta squared."""

    def __init__(self, name: str, width: int, beta2: float, **options: Any) -> None:
        super().__init__(name, width, **options)
        self.beta2 = beta2

    def f_beta(self, hits: Any, positives: Any, mask: Any) -> Any:
        """F-beta from counts (B, width): (1 + beta²) · hits / (beta² · truths + positives)."""
        truths = ops.sum(mask, axis=1, keepdims=True)
        # Counts are integers: where the denominator is below beta2, all are 0 and so is the result.
        return (1 + self.beta2) * hits / ops.maximum(self.beta2 * truths + positives, self.beta2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "beta2": self.beta2}


class FBetaCurve(FBeta):
    """The curve of F-beta over the 256 levels of an 8-bit map."""

    def __init__(self, name: str, beta2: float, **options: Any) -> None:
        super().__init__(name, LEVELS, beta2, **options)

    def image_rows(self, mask: Any, prediction: Any) -> Any:
        """F-beta at each level, highest level first (B, 256)."""
        levels = ops.cast(prediction * 255, "int32")
        histogram = _level_histograms(levels, ops.stack([mask, ops.ones_like(mask)], axis=-1))
        above = ops.cumsum(ops.flip(histogram, axis=1), axis=1)
        return self.f_beta(above[..., 0], above[..., 1], mask)


def _level_histograms(levels: Any, weights: Any) -> Any:
    """Sums of ``weights`` (B, N, K) by level and image: (B, 256, K).

    Summing ones in float32 is exact up to 2^24 pixels. ``unsorted_segment_sum`` is deterministic,
    unlike ``bincount`` on a GPU.
    """
    batch = ops.shape(levels)[0]
    bins = levels + LEVELS * ops.arange(batch, dtype="int32")[:, None]
    kinds = weights.shape[-1]
    sums = tf.math.unsorted_segment_sum(
        ops.reshape(weights, (-1, kinds)), ops.reshape(bins, (-1,)), batch * LEVELS
    )
    return ops.reshape(sums, (batch, LEVELS, kinds))


@keras.saving.register_keras_serializable(package="saldiag")
class MaxFBeta(FBetaCurve):
    """The highest point of the mean F-beta curve (Achanta et al., CVPR 2009)."""

    def __init__(self, name: str = "max_f_beta", beta2: float = BETA2, **options: Any) -> None:
        super().__init__(name, beta2, **options)

    def result(self) -> Any:
        """Max-F: one level is chosen for all images together."""
        return ops.max(self.mean_row())


@keras.saving.register_keras_serializable(package="saldiag")
class MeanFBeta(FBetaCurve):
    """The mean of the mean F-beta curve over the 256 levels."""

    def __init__(self, name: str = "mean_f_beta", beta2: float = BETA2, **options: Any) -> None:
        super().__init__(name, beta2, **options)

    def result(self) -> Any:
        """Mean-F."""
        return ops.mean(self.mean_row())


@keras.saving.register_keras_serializable(package="saldiag")
class AdaptiveFBeta(FBeta):
    """F-beta of each map thresholded at twice its mean, at most 1 (Achanta et al., CVPR 2009)."""

    def __init__(self, name: str = "adaptive_f_beta", beta2: float = BETA2, **options: Any) -> None:
        super().__init__(name, 1, beta2, **options)

    def image_rows(self, mask: Any, prediction: Any) -> Any:
        """F-beta of each image (B, 1)."""
        level = ops.minimum(2 * ops.mean(prediction, axis=1, keepdims=True), 1)
        cut = ops.cast(prediction >= level, "float32")
        hits = ops.sum(cut * mask, axis=1, keepdims=True)
        return self.f_beta(hits, ops.sum(cut, axis=1, keepdims=True), mask)


@keras.saving.register_keras_serializable(package="saldiag")
class WeightedFBeta(keras.metrics.Metric):
    """Weighted F-beta (Margolin et al., CVPR 2014), the metric of the QUICKSAL recipe.

    It runs in Python through ``tf.numpy_function``: about 3 ms per image of 224x224 on one core
    (0.1 s for a batch of 32), which the training step waits for. ``EvaluationOnly`` therefore
    disables it while training batches run; it is ``nan`` while nothing was measured. XLA cannot
    compile it.
    """

    def __init__(self, name: str = "weighted_f_beta", beta2: float = BETA2, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.beta2 = beta2
        self.total = self.add_variable((), "zeros", name="total")
        self.images = self.add_variable((), "zeros", name="images")
        self.enabled = tf.Variable(True, trainable=False, name="enabled")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch, unless the metric is disabled; sample weights are not supported.

        Raises:
            ValueError: ``sample_weight`` is given.
        """
        if sample_weight is not None:
            raise ValueError(
                "WeightedFBeta supports no sample_weight: pass it in metrics=[...] instead of"
                " weighted_metrics"
            )
        added = tf.cond(
            self.enabled,
            lambda: tf.numpy_function(self._score_batch, [y_true, y_pred], tf.float32),
            lambda: tf.zeros(2),
        )
        total, images = tf.unstack(tf.ensure_shape(added, (2,)))
        self.total.assign_add(total)
        self.images.assign_add(images)

    def _score_batch(self, masks: Array, predictions: Array) -> Array:
        """The sum of a batch's scores and their number, float32 (2,)."""
        scores = [
            saliency.weighted_f_beta(prediction[..., 0], mask[..., 0], self.beta2)
            if np.isfinite(prediction).all()
            else np.nan
            for mask, prediction in zip(masks, predictions, strict=True)
        ]
        return np.asarray([sum(scores), len(scores)], np.float32)

    def result(self) -> Any:
        """The mean over the images so far; ``nan`` before the first."""
        return ops.where(self.images > 0, self.total / ops.maximum(self.images, 1), np.nan)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "beta2": self.beta2}


class EvaluationOnly(keras.callbacks.Callback):
    """Disables the costly ones of these metrics in the training steps of ``fit``."""

    def __init__(self, metrics: Iterable[Any]) -> None:
        super().__init__()
        self.costly = tuple(metric for metric in metrics if isinstance(metric, WeightedFBeta))

    def on_train_begin(self, *_: Any) -> None:
        """Disable them."""
        self._set_enabled(False)

    def on_test_begin(self, *_: Any) -> None:
        """Enable them for the validation."""
        self._set_enabled(True)

    def on_test_end(self, *_: Any) -> None:
        """Disable them for the next training steps."""
        self._set_enabled(False)

    def on_epoch_end(self, _: int, logs: dict[str, float] | None = None) -> None:
        """Remove their unmeasured training values from the logs, for callbacks after this one."""
        for metric in self.costly:
            (logs or {}).pop(metric.name, None)

    def on_train_end(self, *_: Any) -> None:
        """Enable them for a later ``evaluate``."""
        self._set_enabled(True)

    def _set_enabled(self, enabled: bool) -> None:
        for metric in self.costly:
            metric.enabled.assign(enabled)


def saliency_metrics(beta2: float = BETA2) -> list[Any]:
    """New metrics of the recipe: MAE and F-beta (maximum, mean, adaptive, weighted)."""
    return [
        keras.metrics.MeanAbsoluteError(name="mae"),
        MaxFBeta(beta2=beta2),
        MeanFBeta(beta2=beta2),
        AdaptiveFBeta(beta2=beta2),
        WeightedFBeta(beta2=beta2),
    ]
