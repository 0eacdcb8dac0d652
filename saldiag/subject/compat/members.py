"""Tables of removed methods and attributes, and of methods whose arguments or results changed."""

from __future__ import annotations

import functools
from typing import Any

from saldiag.keras_internals.layers import flattened_layers
from saldiag.subject.compat import files, generators, logs, rates, shapes
from saldiag.subject.compat.entries import ChangedMethod, OnUse, RemovedMember


def _tensor_shapes(layer: Any, tensors: str) -> Any:
    import keras

    structure = getattr(layer, tensors)
    return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), structure)


def _input_shape(layer: Any) -> Any:
    return _tensor_shapes(layer, "input")


def _output_shape(layer: Any) -> Any:
    return _tensor_shapes(layer, "output")


def _wrap_model_new(original: Any, _on_use: OnUse) -> Any:
    """``Model(input=…, output=…)``: ``__new__`` chooses the kind of model by today's keywords."""
    original_new = original.__func__

    @functools.wraps(original_new)
    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - it is that method
        names = {"input": "inputs", "output": "outputs"}
        return original_new(cls, *args, **{names.get(name, name): v for name, v in kwargs.items()})

    return staticmethod(__new__)


def _reset_states(layer: Any) -> None:
    for inner in flattened_layers(layer):
        if hasattr(inner, "reset_state") and getattr(inner, "stateful", False):
            inner.reset_state()


MEMBERS: tuple[RemovedMember, ...] = (
    RemovedMember(
        "keras.Model", "fit_generator", "model.fit(generator, …)", getter=generators.fit_generator
    ),
    RemovedMember(
        "keras.Model",
        "evaluate_generator",
        "model.evaluate(generator, …)",
        getter=generators.evaluate_generator,
    ),
    RemovedMember(
        "keras.Model",
        "predict_generator",
        "model.predict(generator, …)",
        getter=generators.predict_generator,
    ),
    RemovedMember(
        "keras.Model",
        "predict_classes",
        "model.predict(x).argmax(axis=-1), or model.predict(x) > 0.5 of one output",
        getter=generators.predict_classes,
    ),
    RemovedMember(
        "keras.Model", "predict_proba", "model.predict(x)", getter=generators.predict_proba
    ),
    RemovedMember(
        "keras.Model", "reset_states", "reset_state() of each stateful layer", getter=_reset_states
    ),
    RemovedMember(
        "keras.optimizers.Optimizer",
        "lr",
        "optimizer.learning_rate",
        getter=rates.get_lr,
        setter=rates.set_lr,
        is_property=True,
    ),
    RemovedMember(
        "keras.layers.Layer",
        "input_shape",
        "layer.input.shape",
        getter=_input_shape,
        is_property=True,
    ),
    RemovedMember(
        "keras.layers.Layer",
        "output_shape",
        "layer.output.shape",
        getter=_output_shape,
        is_property=True,
    ),
)

WRAPPED: tuple[ChangedMethod, ...] = (
    ChangedMethod(
        "keras.callbacks.History",
        "history['acc']",
        "history['accuracy']",
        method="keras.callbacks.History.on_train_begin",
        wrap=logs.wrap_history_begin,
        error_pattern=r"^'(val_)?(\w+_)?acc'$",
    ),
    ChangedMethod(
        "keras.callbacks",
        "logs['acc']",
        "logs['accuracy']",
        method="keras.src.utils.python_utils.pythonify_logs",
        wrap=logs.wrap_pythonify_logs,
        error_pattern=r"^'(val_)?(\w+_)?acc'$",
    ),
    ChangedMethod(
        "keras.callbacks",
        "monitor='val_acc'",
        "monitor='val_accuracy'",
        method="keras.Model.fit",
        wrap=logs.wrap_fit,
        error_pattern=r"callback received monitor=(val_)?(\w+_)?acc, but",
    ),
    ChangedMethod(
        "keras.callbacks.ModelCheckpoint",
        "{val_acc} in a file's name",
        "{val_accuracy}",
        method="keras.callbacks.ModelCheckpoint._get_file_path",
        wrap=logs.wrap_checkpoint_path,
        error_pattern=r"Failed to format this callback filepath: .*Reason: '(val_)?(\w+_)?acc'",
    ),
    ChangedMethod(
        "keras.callbacks.ModelCheckpoint",
        "a checkpoint in .hdf5 (or with period=)",
        "a name in .keras, with save_weights_only in .weights.h5",
        method="keras.callbacks.ModelCheckpoint.__init__",
        wrap=files.wrap_checkpoint_init,
        error_pattern=r"filepath provided must end in|ModelCheckpoint.*unexpected.*'period'",
    ),
    ChangedMethod(
        "keras.callbacks.ModelCheckpoint",
        "period= of ModelCheckpoint",
        "save_freq=",
        method="keras.callbacks.ModelCheckpoint.on_epoch_end",
        wrap=files.wrap_checkpoint_epoch_end,
    ),
    ChangedMethod(
        "keras.Model",
        "save_weights('….h5')",
        "save_weights('….weights.h5')",
        method="keras.Model.save_weights",
        wrap=files.wrap_save_weights,
        error_pattern=r"filename must end in `.weights.h5`.*filepath=.*\.(h5|hdf5)\b",
    ),
    ChangedMethod(
        "keras.models",
        "a file of Keras 2",
        "a file in .keras",
        method="keras.src.legacy.saving.saving_utils.model_from_config",
        wrap=files.wrap_model_from_config,
    ),
    ChangedMethod(
        "keras.models",
        "load_model('….h5')",
        "a file in .keras",
        method="keras.models.load_model",
        wrap=files.wrap_load_model,
        error_pattern=r"Could not deserialize 'keras\.metrics\.(mse|mae|mape|msle)'",
    ),
    ChangedMethod(
        "keras.Model",
        "Model(input=…, output=…)",
        "Model(inputs=…, outputs=…)",
        method="keras.Model.__new__",
        wrap=_wrap_model_new,
    ),
    ChangedMethod(
        "keras.layers.Layer",
        "batch_input_shape= of a layer",
        "keras.Input(batch_shape=…) before it",
        method="keras.layers.Layer.__init__",
        wrap=shapes.wrap_layer_init,
        error_pattern=r"Unrecognized keyword arguments passed to \w+: {'batch_input_shape'",
    ),
    ChangedMethod(
        "keras.Sequential",
        "batch_input_shape= of its first layer",
        "keras.Input(batch_shape=…) before it",
        method="keras.Sequential.add",
        wrap=shapes.wrap_sequential_add,
    ),
    ChangedMethod(
        "keras.optimizers.Optimizer",
        "a rate that is set beside decay=",
        "a schedule",
        method="keras.optimizers.Optimizer.learning_rate",
        wrap=rates.wrap_learning_rate,
    ),
)
