"""A custom loop, a custom ``train_step`` and ``fit``, each with faults to switch on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.replicas.models import Kind


@dataclass(frozen=True)
class Program:
    """One program; every field away from its default is a fault or a healthy variation."""

    trainer: str = "loop"
    """``loop``, ``train_step`` or ``fit``."""
    loss: str = "global"
    """How a replica reduces the loss of its items."""
    data: str = "distributed"
    """What each replica reads."""
    batch: int = 8
    """Items per replica."""
    optimizer: str = "SGD"
    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of the optimizer."""
    rate: float = 0.05
    gradients: str = ""
    """What the step does to the gradients."""
    penalty: str = ""
    """Whether the weights are regularized, and how a loop adds the penalty."""
    metric: str = "mean"
    """How the loop reduces its own metric."""
    dropout: bool = False
    normalised: str = ""
    """A dense BatchNorm behind the input: ``local`` or ``synchronized``."""
    items: int = 0
    """Items of the data; 0 for all."""
    epochs: int = 2
    compiled: dict[str, Any] = field(default_factory=dict)
    """Arguments of ``compile``."""
    weighted: bool = False
    """Whether ``fit`` gets weights of the items."""
    policy: str = "float32"
    copies: str = ""
    """``apart`` sets the first weight of one replica alone."""


class Unsummed(keras.optimizers.SGD):
    """Updates each replica's copy with its own gradient."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            raw = getattr(variable, "value", variable)
            local = tf.distribute.get_strategy().experimental_local_results(raw)
            this = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = local[int(tf.get_static_value(this))] if len(local) > 1 else local[0]
            mine.assign_sub(tf.cast(learning_rate, gradient.dtype) * tf.convert_to_tensor(gradient))


def train(program: Program, kind: Kind, strategy: Any, watch: Any) -> None:
    """Build the model in ``strategy``, hand it to ``watch``, and train it."""
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy(program.policy)
    x, y = kind.data()
    x, y = (x[: program.items], y[: program.items]) if program.items else (x, y)
    with strategy.scope():
        model = _model(program, kind)
        optimizer = _optimizer(program)
        optimizer.build(model.trainable_variables)
        if program.trainer != "loop":
            loss = _keras_loss(kind)
            if program.trainer == "train_step":
                model = SteppingModel(
                    model, program, kind, program.batch * strategy.num_replicas_in_sync
                )
            metrics = ["accuracy"] if kind.classes else ["mae"]
            model.compile(optimizer, loss, metrics=metrics, **program.compiled)
    watch(model)
    if program.copies == "apart":
        strategy.experimental_local_results(model.trainable_variables[0].value)[1].assign_add(
            tf.ones(model.trainable_variables[0].shape)
        )
    if program.trainer == "loop":
        _loop(program, kind, strategy, model, optimizer, x, y)
    else:
        size = program.batch * strategy.num_replicas_in_sync
        weights = np.linspace(0.5, 1.5, len(x)) if program.weighted else None
        model.fit(x, y, size, epochs=program.epochs, sample_weight=weights, verbose=0)


def _model(program: Program, kind: Kind) -> Any:
    settings = {"kernel_regularizer": keras.regularizers.L2(0.01)} if program.penalty else {}
    model = kind.build(settings)
    if not program.dropout and not program.normalised:
        return model
    inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
    h = inputs
    if program.normalised:
        synchronized = program.normalised == "synchronized"
        h = layers.Rescaling(0.05)(h) if kind.name == "recurrent" else layers.Flatten()(h)
        h = layers.Dense(6)(h)
        h = layers.BatchNormalization(momentum=0.8, synchronized=synchronized)(h)
        outputs = layers.Dense(kind.classes or 1, activation="softmax" if kind.classes else None)(h)
        return keras.Model(inputs, outputs)
    outputs = layers.Dropout(0.2)(model(h))
    return keras.Model(inputs, outputs)


def _optimizer(program: Program) -> Any:
    if program.optimizer == "Unsummed":
        return Unsummed(program.rate)
    return getattr(keras.optimizers, program.optimizer)(program.rate, **program.settings)


def _keras_loss(kind: Kind) -> Any:
    if kind.classes:
        return keras.losses.SparseCategoricalCrossentropy()
    return keras.losses.MeanSquaredError()


def _each(kind: Kind, y: Any, predicted: Any) -> Any:
    """Loss of each item."""
    if kind.classes:
        return keras.losses.sparse_categorical_crossentropy(y, predicted)
    return tf.reduce_sum((predicted - y) ** 2, axis=-1)


def _reduced(program: Program, kind: Kind, y: Any, predicted: Any, size: int) -> Any:
    """The loss of a replica."""
    if program.loss.startswith("keras"):
        return _keras_reduced(program, kind, y, predicted)
    return _mean_or_sum(program.loss, _each(kind, y, predicted), size)


def _keras_reduced(program: Program, kind: Kind, y: Any, predicted: Any) -> Any:
    loss = _keras_loss(kind)(y, predicted)
    if program.loss == "keras divided":
        return loss / tf.distribute.get_strategy().num_replicas_in_sync
    return loss


def _mean_or_sum(way: str, each: Any, size: int) -> Any:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if way == "average":
        return tf.nn.compute_average_loss(each, global_batch_size=size)
    if way == "mean":
        return tf.reduce_mean(each)
    if way == "mean over replicas":
        return tf.reduce_mean(each) / replicas
    if way == "own items":
        return tf.reduce_sum(each) / tf.cast(tf.shape(each)[0], each.dtype)
    if way == "weighted":
        return 2.0 * tf.reduce_sum(each) / size + tf.reduce_sum(each**2) / size
    if way == "half":
        return 0.5 * tf.reduce_sum(each) / size
    if way == "global divided":
        return tf.reduce_sum(each) / (size * replicas)
    assert way == "global"
    return tf.reduce_sum(each) / size


def _gradients(program: Program, gradients: Any) -> Any:
    context = tf.distribute.get_replica_context()
    if program.gradients:
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    count = context.num_replicas_in_sync
    if program.gradients == "summed":
        return context.all_reduce("SUM", gradients)
    if program.gradients == "summed and divided":
        return [gradient / count for gradient in context.all_reduce("SUM", gradients)]
    if program.gradients == "averaged":
        return context.all_reduce("MEAN", gradients)
    if program.gradients == "clipped":
        return tf.clip_by_global_norm(gradients, 1e-3)[0]
    if program.gradients == "summed and clipped":
        total, _ = tf.clip_by_global_norm(context.all_reduce("SUM", gradients), 1e-3)
        return [gradient / count for gradient in total]
    if program.gradients == "divided":
        return [gradient / count for gradient in gradients]
    return gradients


def _step_of(program: Program, kind: Kind, model: Any, optimizer: Any, size: int) -> Any:
    def step(x, y):
        with tf.GradientTape() as tape:
            predicted = model(x, training=True)
            loss = _reduced(program, kind, y, predicted, size)
            if program.penalty == "full":
                loss += tf.add_n(model.losses)
            elif program.penalty:
                loss += tf.nn.scale_regularization_loss(tf.add_n(model.losses))
        gradients = tape.gradient(loss, model.trainable_variables)
        gradients = _gradients(program, gradients)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        if kind.classes:
            right = tf.cast(tf.argmax(predicted, -1), tf.int64) == tf.cast(y, tf.int64)
            return loss, tf.reduce_mean(tf.cast(right, tf.float32))
        return loss, tf.reduce_mean(tf.abs(predicted - y))

    return step


def _loop(program: Program, kind: Kind, strategy: Any, model: Any, optimizer: Any, x: Any, y: Any):
    size = program.batch * strategy.num_replicas_in_sync
    step = _step_of(program, kind, model, optimizer, size)

    @tf.function
    def run(a, b):
        loss, metric = strategy.run(step, args=(a, b))
        loss = strategy.reduce("SUM", loss, axis=None)
        if program.metric == "sum":
            return loss, strategy.reduce("SUM", metric, axis=None)
        if program.metric == "sum divided":
            total = strategy.reduce("SUM", metric, axis=None)
            return loss, total / strategy.num_replicas_in_sync
        return loss, strategy.reduce("MEAN", metric, axis=None)

    for _ in range(program.epochs):
        for a, b in _batches(program, strategy, x, y, size):
            run(a, b)


def _batches(program: Program, strategy: Any, x: Any, y: Any, size: int) -> Any:
    if program.data == "by class":
        return _by_class(program, strategy, x, y)
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    if program.data == "same":
        return dataset.batch(program.batch, drop_remainder=True)
    if program.data == "per replica":
        return strategy.distribute_datasets_from_function(lambda _: dataset.batch(program.batch))
    if program.data == "dropped":
        dataset = dataset.batch(size, drop_remainder=True)
    else:
        dataset = dataset.batch(size)
    return strategy.experimental_distribute_dataset(dataset)


def _by_class(program: Program, strategy: Any, x: Any, y: Any) -> Any:
    """Batches in which each replica reads its own part of the sorted items."""
    order = x.reshape(len(x), -1).sum(axis=1).argsort()
    share = len(x) // strategy.num_replicas_in_sync
    if x.dtype.kind == "f":
        x = x + 4 * np.linspace(0, 1, len(x), dtype="float32")[order.argsort()].reshape(
            -1, *[1] * (x.ndim - 1)
        )

    def part(values: Any, start: int) -> Any:
        def of_replica(context: Any) -> Any:
            first = context.replica_id_in_sync_group * share + start
            return tf.constant(values[order][first : first + program.batch])

        return strategy.experimental_distribute_values_from_function(of_replica)

    starts = range(0, share - program.batch + 1, program.batch)
    return [(part(x, start), part(y, start)) for start in starts]


class SteppingModel(keras.Model):
    """A model with its own ``train_step``."""

    def __init__(self, inner: Any, program: Program, kind: Kind, size: int) -> None:
        super().__init__()
        self.inner, self.program, self.kind, self.size = inner, program, kind, size

    def call(self, x, training=False):
        return self.inner(x, training=training)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            loss = _reduced(self.program, self.kind, y, predicted, self.size)
            if self.program.penalty == "full":
                loss += tf.add_n(self.losses)
            elif self.program.penalty:
                loss += tf.add_n(self.losses) / tf.distribute.get_strategy().num_replicas_in_sync
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients = _gradients(self.program, gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}
