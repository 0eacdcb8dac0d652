"""BatchNorm's moving statistics, re-estimated from batches: "precise BN" (Wu & Johnson, 2021).

Moving averages lag behind weights that change fast, and start from values that may be far off.
Mean and variance of the same inputs under the current weights have neither problem.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.patching import patched
from saldiag.keras_internals.layers import flattened_layers
from saldiag_probes.state.isolation import preserved_state
from saldiag_probes.state.touched_resources import keep_changes
from saldiag_probes.trace.execution import without_graph_optimizer

MAX_BATCHES = 64
"""Batches per estimate; 64 of 32 samples are about 2000 samples, beyond which the paper finds no
gain."""


def batch_norm_layers(model: Any) -> list[Any]:
    """All BatchNormalization layers, including those in nested models and layers."""
    found = flattened_layers(model)
    return [layer for layer in found if isinstance(layer, keras.layers.BatchNormalization)]


def reestimate_statistics(model: Any, batches: Iterable[Any]) -> tuple[str, ...]:
    """Set BatchNorm's moving statistics to mean and variance over ``batches``.

    See ``StatisticsEstimate``, which repeats this without tracing again.

    Args:
        model: a built Keras model.
        batches: any number of ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

    Returns:
        Paths of the layers that were re-estimated.
    """
    return StatisticsEstimate(model).update_statistics(lambda: batches)


class StatisticsEstimate:
    """Re-estimates the moving statistics of a model, repeatedly with one trace.

    Each batch makes one forward pass in training mode. The mean and variance that each BatchNorm
    computes are pooled over all batches, and over all calls of a layer that is called several
    times, weighted by the number of values behind them. No batch is kept. A BatchNorm in inference
    mode (frozen, or called with ``training=False``) keeps its statistics, and so does one that the
    batches never reach. Momentum has no influence.

    Weights, optimizer, metrics and seeds are left unchanged.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers = [layer for layer in batch_norm_layers(model) if layer.trainable]
        self._forward: Any = self._forward_pass
        if not getattr(model, "run_eagerly", False):
            self._forward = tf.function(
                self._forward_pass, autograph=False, jit_compile=False, reduce_retracing=True
            )
        self._pools: dict[int, _PooledMoments] = {}

    def update_statistics(self, batches: Callable[[], Iterable[Any]]) -> tuple[str, ...]:
        """Re-estimate from batches; returns the paths of the layers that they reached.

        ``batches`` is called, and its batches are read, inside a block that restores all random
        states.
        """
        if not self.layers:
            return ()
        for layer in self.layers:
            self._pools.setdefault(id(layer), _PooledMoments(layer)).clear()
        with preserved_state(self.model), without_graph_optimizer(), ExitStack() as stack:
            keep_changes(v for pool in self._pools.values() for v in pool.variables)
            for layer in self.layers:
                stack.enter_context(_pool_batch_statistics(layer, self._pools[id(layer)]))
            for batch in batches():
                x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
                self._forward(x)
        return tuple(layer.path for layer in self.layers if self._pools[id(layer)].assign())

    def _forward_pass(self, x: Any) -> None:
        self.model(x, training=True)


class _PooledMoments:
    """Mean and variance of one layer's inputs so far, in float64 to keep rounding errors small.

    Combined pairwise (Chan, Golub & LeVeque, 1983): the sum of squares minus the squared sum would
    cancel where the mean is large.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        zeros = tf.zeros(layer.moving_mean.shape, tf.float64)
        self.positions = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.mean = tf.Variable(zeros, trainable=False)
        self.squares = tf.Variable(zeros, trainable=False)
        """Sum of the squared deviations from the mean."""

    @property
    def variables(self) -> tuple[Any, ...]:
        return self.positions, self.mean, self.squares

    def clear(self) -> None:
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))

    def add_batch(self, positions: Any, mean: Any, variance: Any) -> None:
        positions, mean, variance = (tf.cast(v, tf.float64) for v in (positions, mean, variance))
        before = self.positions.read_value()
        share = tf.math.divide_no_nan(positions, before + positions)
        shift = mean - self.mean.read_value()
        self.squares.assign_add(positions * variance + shift**2 * before * share)
        self.mean.assign_add(shift * share)
        self.positions.assign_add(positions)

    def assign(self) -> bool:
        """Set the layer's moving statistics; False if nothing was pooled."""
        positions = self.positions.numpy()
        if not positions:
            return False
        self.layer.moving_mean.assign(self.mean.numpy())
        self.layer.moving_variance.assign(self.squares.numpy() / positions)
        return True


@contextmanager
def _pool_batch_statistics(layer: Any, pool: _PooledMoments) -> Iterator[None]:
    """Redirect the batch statistics that the layer computes from its moving averages to the pool.

    With momentum 0 a layer assigns the batch's own statistics, so ``assign`` sees them unblended.
    """
    seen: dict[str, Any] = {}
    original = layer.call

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.clear()
        outputs = original(inputs, *args, **kwargs)
        if len(seen) == 2:
            pool.add_batch(
                _positions_per_channel(layer, inputs, kwargs.get("mask")),
                seen["mean"],
                seen["variance"],
            )
        return outputs

    def remember_as(name: str) -> Callable[[Any], Any]:
        return lambda value: seen.setdefault(name, value)

    with (
        patched(layer, "call", call, untracked=True),
        patched(layer, "momentum", 0.0, untracked=True),
        patched(layer.moving_mean, "assign", remember_as("mean"), untracked=True),
        patched(layer.moving_variance, "assign", remember_as("variance"), untracked=True),
    ):
        yield


def _positions_per_channel(layer: Any, inputs: Any, mask: Any) -> Any:
    """Number of values per channel that the statistics come from."""
    if mask is not None:
        return tf.reduce_sum(tf.cast(mask, tf.float64))
    channels = inputs.shape[layer.axis]
    return tf.size(inputs, tf.int64) // channels


class Recalibration(keras.callbacks.Callback):
    """Re-estimates the statistics before each validation of ``fit``, from the epoch's batches.

    The estimates are kept: training steps do not read them and continue their averages from them.
    They depend only on the weights and the epoch's number, so a resumed run gets the same ones.
    Each estimate costs one pass without gradients over at most ``MAX_BATCHES`` batches of the
    epoch, at most about a third of the epoch's own time.

    Args:
        batches: from the number of an epoch to endless batches from this epoch on.
        steps: batches per epoch.
        say: called with a line for the user if there is nothing to re-estimate.
    """

    def __init__(
        self, batches: Callable[[int], Iterable[Any]], steps: int, say: Callable[[str], None]
    ) -> None:
        super().__init__()
        self.epoch = 0
        self._batches, self._max_batches, self._say = batches, min(steps, MAX_BATCHES), say
        self._estimate: StatisticsEstimate | None = None
        self._nothing_to_do = False

    def on_epoch_begin(self, epoch: int, *_: Any) -> None:
        """Store the number of the epoch."""
        self.epoch = epoch

    def on_test_begin(self, *_: Any) -> None:
        """Re-estimate; once there is nothing to re-estimate, do nothing any more."""
        if self._nothing_to_do:
            return
        self._estimate = self._estimate or StatisticsEstimate(self.model)
        if not self._estimate.update_statistics(self._epoch_batches):
            self._nothing_to_do = True
            self._say(
                "--recalibrate has no effect: no BatchNorm of this model runs in training mode"
            )

    def _epoch_batches(self) -> Iterator[Any]:
        return itertools.islice(self._batches(self.epoch), self._max_batches)
