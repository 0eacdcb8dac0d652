"""Methods and attributes that are gone, and methods that took, or gave, something else."""

from __future__ import annotations

import functools
from typing import Any

from saldiag.keras_internals.layers import flattened_layers
from saldiag.subject.compat import files, generators, logs, rates, shapes
from saldiag.subject.compat.entries import ChangedMethod, OnUse, RemovedMember


def _tensor_shapes(layer: Any, tensors: str) -> Any:
    import keras

    found = getattr(layer, tensors)
    return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), found)


def _input_shape(layer: Any) -> Any:
    return _tensor_shapes(layer, "input")


def _output_shape(layer: Any) -> Any:
    return _tensor_shapes(layer, "output")


def _wrap_model_new(original: Any, _tell: OnUse) -> Any:
    """``Model(input=…, output=…)``: the keywords tell Keras which kind of model is made."""
    make = original.__func__

    @functools.wraps(make)
    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - it is that method
        names = {"input": "inputs", "output": "outputs"}
        return make(cls, *args, **{names.get(name, name): v for name, v in kwargs.items()})

    return staticmethod(__new__)


def _reset_states(layer: Any) -> None:
    for one in flattened_layers(layer):
        if hasattr(one, "reset_state") and getattr(one, "stateful", False):
            one.reset_state()


MEMBERS: tuple[RemovedMember, ...] = (
    RemovedMember("keras.Model", "fit_generator", "model.fit(generator, …)", to=generators.fit_generator),
    RemovedMember("keras.Model", "evaluate_generator", "model.evaluate(generator, …)",
           to=generators.evaluate_generator),
    RemovedMember("keras.Model", "predict_generator", "model.predict(generator, …)",
           to=generators.predict_generator),
    RemovedMember("keras.Model", "predict_classes",
           "model.predict(x).argmax(axis=-1), or model.predict(x) > 0.5 of one output",
           to=generators.predict_classes),
    RemovedMember("keras.Model", "predict_proba", "model.predict(x)", to=generators.predict_proba),
    RemovedMember("keras.Model", "reset_states", "reset_state() of each stateful layer",
           to=_reset_states),
    RemovedMember("keras.optimizers.Optimizer", "lr", "optimizer.learning_rate", to=rates.get_lr,
           put=rates.set_lr, is_property=True),
    RemovedMember("keras.layers.Layer", "input_shape", "layer.input.shape", to=_input_shape,
           is_property=True),
    RemovedMember("keras.layers.Layer", "output_shape", "layer.output.shape", to=_output_shape,
           is_property=True),
)  # fmt: skip

WRAPPED: tuple[ChangedMethod, ...] = (
    ChangedMethod("keras.callbacks.History", "history['acc']", "history['accuracy']",
            inside="keras.callbacks.History.on_train_begin", around=logs.wrap_history_begin,
            error=r"^'(val_)?(\w+_)?acc'$"),
    ChangedMethod("keras.callbacks", "logs['acc']", "logs['accuracy']",
            inside="keras.src.utils.python_utils.pythonify_logs", around=logs.wrap_pythonify_logs,
            error=r"^'(val_)?(\w+_)?acc'$"),
    ChangedMethod("keras.callbacks", "monitor='val_acc'", "monitor='val_accuracy'",
            inside="keras.Model.fit", around=logs.wrap_fit,
            error=r"callback received monitor=(val_)?(\w+_)?acc, but"),
    ChangedMethod("keras.callbacks.ModelCheckpoint", "{val_acc} in a file's name", "{val_accuracy}",
            inside="keras.callbacks.ModelCheckpoint._get_file_path", around=logs.wrap_checkpoint_path,
            error=r"Failed to format this callback filepath: .*Reason: '(val_)?(\w+_)?acc'"),
    ChangedMethod("keras.callbacks.ModelCheckpoint", "a checkpoint in .hdf5 (or with period=)",
            "a name in .keras, with save_weights_only in .weights.h5",
            inside="keras.callbacks.ModelCheckpoint.__init__", around=files.wrap_checkpoint_init,
            error=r"filepath provided must end in|ModelCheckpoint.*unexpected.*'period'"),
    ChangedMethod("keras.callbacks.ModelCheckpoint", "period= of ModelCheckpoint", "save_freq=",
            inside="keras.callbacks.ModelCheckpoint.on_epoch_end", around=files.wrap_checkpoint_epoch_end),
    ChangedMethod("keras.Model", "save_weights('….h5')", "save_weights('….weights.h5')",
            inside="keras.Model.save_weights", around=files.wrap_save_weights,
            error=r"filename must end in `.weights.h5`.*filepath=.*\.(h5|hdf5)\b"),
    ChangedMethod("keras.models", "a file of Keras 2", "a file in .keras",
            inside="keras.src.legacy.saving.saving_utils.model_from_config",
            around=files.wrap_model_from_config),
    ChangedMethod("keras.models", "load_model('….h5')", "a file in .keras",
            inside="keras.models.load_model", around=files.wrap_load_model,
            error=r"Could not deserialize 'keras\.metrics\.(mse|mae|mape|msle)'"),
    ChangedMethod("keras.Model", "Model(input=…, output=…)", "Model(inputs=…, outputs=…)",
            inside="keras.Model.__new__", around=_wrap_model_new),
    ChangedMethod("keras.layers.Layer", "batch_input_shape= of a layer",
            "keras.Input(batch_shape=…) before it",
            inside="keras.layers.Layer.__init__", around=shapes.wrap_layer_init,
            error=r"Unrecognized keyword arguments passed to \w+: {'batch_input_shape'"),
    ChangedMethod("keras.Sequential", "batch_input_shape= of its first layer",
            "keras.Input(batch_shape=…) before it", inside="keras.Sequential.add",
            around=shapes.wrap_sequential_add),
    ChangedMethod("keras.optimizers.Optimizer", "a rate that is set beside decay=", "a schedule",
            inside="keras.optimizers.Optimizer.learning_rate", around=rates.wrap_learning_rate),
)  # fmt: skip
