"""BatchNorm's moving statistics, re-estimated from batches: "precise BN" (Wu & Johnson, 2021).

Moving averages lag behind weights that move fast, and begin at values that may be far off. The
mean and the variance of the same inputs under today's weights have neither fault.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf

from saldiag.keras_internals.layers import flattened_layers
from saldiag_probes.state.isolation import undisturbed
from saldiag_probes.trace.execution import graph_as_built

MOST_BATCHES = 64
"""Most batches for one estimate: with 32 samples each about 2000, beyond which the paper finds no
further gain."""


def normalizations(model: Any) -> list[Any]:
    """All BatchNorms of the model, those of nested models and layers included."""
    found = flattened_layers(model)
    return [layer for layer in found if isinstance(layer, keras.layers.BatchNormalization)]


def reestimate_statistics(model: Any, batches: Iterable[Any]) -> tuple[str, ...]:
    """Set BatchNorm's moving statistics to mean and variance over ``batches``.

    See ``StatisticsEstimate``, which repeats it without another trace.

    Args:
        model: a Keras model that is built.
        batches: ``x``, ``(x, y)`` or ``(x, y, sample_weight)`` each; any number of them.

    Returns:
        Paths of the layers that were re-estimated.
    """
    return StatisticsEstimate(model).apply(lambda: batches)


class StatisticsEstimate:
    """Re-estimates the moving statistics of a model, as often as wanted.

    Each batch goes through the model in training mode, one pass and no gradient. Pooled over all
    batches, and over all calls of a layer that is called several times, are the mean and variance
    that each BatchNorm computes, weighted by the positions behind them. Nothing is kept of a
    batch. A BatchNorm that runs in inference mode (frozen, or called so) keeps its statistics, and
    so does one that the batches never reach. Momentum plays no part.

    Everything else is as before: weights, optimizer, metrics, seeds.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers = [layer for layer in normalizations(model) if layer.trainable]
        self._forward: Any = self._call
        if not getattr(model, "run_eagerly", False):
            self._forward = tf.function(
                self._call, autograph=False, jit_compile=False, reduce_retracing=True
            )
        self._pools: dict[int, _Pool] = {}

    def apply(self, batches: Callable[[], Iterable[Any]]) -> tuple[str, ...]:
        """Re-estimate from the batches that the function makes; paths of the layers it reached.

        The function is called, and the batches are read, where whatever they draw is put back.
        """
        if not self.layers:
            return ()
        for layer in self.layers:
            self._pools.setdefault(id(layer), _Pool(layer)).clear()
        with undisturbed(self.model), graph_as_built(), ExitStack() as stack:
            for layer in self.layers:
                stack.enter_context(_pooled(layer, self._pools[id(layer)]))
            for batch in batches():
                x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
                self._forward(x)
        return tuple(layer.path for layer in self.layers if self._pools[id(layer)].assign())

    def _call(self, x: Any) -> None:
        self.model(x, training=True)


class _Pool:
    """Mean and variance of one layer's inputs so far, in float64, whose rounding does not add up.

    Joined pairwise (Chan, Golub & LeVeque, 1983): the sum of squares less the squared sum would
    cancel where the mean is large.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        zeros = tf.zeros(layer.moving_mean.shape, tf.float64)
        self.positions = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.mean = tf.Variable(zeros, trainable=False)
        self.squares = tf.Variable(zeros, trainable=False)
        """Sum of the squared deviations from the mean."""

    def clear(self) -> None:
        for variable in (self.positions, self.mean, self.squares):
            variable.assign(tf.zeros_like(variable))

    def add(self, positions: Any, mean: Any, variance: Any) -> None:
        positions, mean, variance = (tf.cast(v, tf.float64) for v in (positions, mean, variance))
        before = self.positions.read_value()
        share = tf.math.divide_no_nan(positions, before + positions)
        shift = mean - self.mean.read_value()
        self.squares.assign_add(positions * variance + shift**2 * before * share)
        self.mean.assign_add(shift * share)
        self.positions.assign_add(positions)

    def assign(self) -> bool:
        """Give the layer what was pooled; False if nothing was."""
        positions = self.positions.numpy()
        if not positions:
            return False
        self.layer.moving_mean.assign(self.mean.numpy())
        self.layer.moving_variance.assign(self.squares.numpy() / positions)
        return True


@contextmanager
def _pooled(layer: Any, pool: _Pool) -> Iterator[None]:
    """Add what the layer computes in training mode to the pool, in place of its moving averages.

    At a momentum of 0 a layer assigns the statistics of the batch themselves.
    """
    seen: dict[str, Any] = {}
    original = layer.call

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.clear()
        outputs = original(inputs, *args, **kwargs)
        if len(seen) == 2:
            pool.add(_positions(layer, inputs, kwargs.get("mask")), seen["mean"], seen["variance"])
        return outputs

    def keep(name: str) -> Callable[[Any], Any]:
        return lambda value: seen.setdefault(name, value)

    with (
        _attribute(layer, "call", call),
        _attribute(layer, "momentum", 0.0),
        _attribute(layer.moving_mean, "assign", keep("mean")),
        _attribute(layer.moving_variance, "assign", keep("variance")),
    ):
        yield


def _positions(layer: Any, inputs: Any, mask: Any) -> Any:
    """How many values of each channel the statistics come from."""
    if mask is not None:
        return tf.reduce_sum(tf.cast(mask, tf.float64))
    channels = inputs.shape[layer.axis]
    return tf.size(inputs, tf.int64) // channels


@contextmanager
def _attribute(thing: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of this instance alone, past Keras, which tracks what a layer is made of."""
    before = vars(thing).get(name, _attribute)
    object.__setattr__(thing, name, value)
    try:
        yield
    finally:
        if before is _attribute:
            object.__delattr__(thing, name)
        else:
            object.__setattr__(thing, name, before)


class Recalibration(keras.callbacks.Callback):
    """Re-estimates the statistics before each validation of ``fit``, from the epoch's batches.

    They stay: a training step does not read them, and goes on from them with its averages. They
    depend on the weights and on the epoch's number alone, so a resumed run gets the same ones.
    Each estimate costs one pass, without gradients, over at most ``MOST_BATCHES`` batches of the
    epoch; that is about a third of the epoch's own time, or less.

    Args:
        batches: batches from the epoch of this number on, without end.
        steps: batches of an epoch.
        say: told where there is nothing to re-estimate.
    """

    def __init__(
        self, batches: Callable[[int], Iterable[Any]], steps: int, say: Callable[[str], None]
    ) -> None:
        super().__init__()
        self.epoch = 0
        self._batches, self._most, self._say = batches, min(steps, MOST_BATCHES), say
        self._estimate: StatisticsEstimate | None = None
        self._idle = False

    def on_epoch_begin(self, epoch: int, *_: Any) -> None:
        """Note the number of the epoch."""
        self.epoch = epoch

    def on_test_begin(self, *_: Any) -> None:
        """Re-estimate; from the first time on that there is nothing to, leave it."""
        if self._idle:
            return
        self._estimate = self._estimate or StatisticsEstimate(self.model)
        if not self._estimate.apply(self._epochs_batches):
            self._idle = True
            self._say(
                "--recalibrate changes nothing: no BatchNorm of this model runs in training mode"
            )

    def _epochs_batches(self) -> Iterator[Any]:
        return itertools.islice(self._batches(self.epoch), self._most)
