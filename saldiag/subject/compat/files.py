"""Wrappers of methods that write or read ``.h5`` and ``.hdf5`` files of older versions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from saldiag.core.keras_types import KerasModel
from saldiag.keras_internals.optimizers import optimized_variables
from saldiag.keras_internals.serialization import optimizer_weights, write_weights
from saldiag.subject.compat.entries import OnUse

HDF5_SUFFIXES = (".h5", ".hdf5")
_PERIOD_ATTRIBUTE = "_saldiag_every"
"""Attribute that stores a checkpoint callback's ``period``, in epochs."""


def _is_hdf5(path: Any) -> bool:
    return str(path).endswith(HDF5_SUFFIXES) and not str(path).endswith(".weights.h5")


def wrap_save_weights(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """``model.save_weights("model.h5")`` writes the format of Keras 2."""

    @functools.wraps(original)
    def save_weights(model: KerasModel, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_hdf5(filepath):
            return original(model, filepath, *args, **kwargs)
        on_use()
        import h5py

        with h5py.File(str(filepath), "w") as file:
            write_weights(file, model)
        return None

    return save_weights


def wrap_load_model(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """``load_model("model.h5")`` knows losses and metrics by their short names."""

    @functools.wraps(original)
    def load_model(filepath: Any, custom_objects: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not _is_hdf5(filepath):
            return original(filepath, custom_objects, *args, **kwargs)
        on_use()
        model = original(filepath, {**_short_names(), **(custom_objects or {})}, *args, **kwargs)
        _rebuild_optimizer(model, str(filepath))
        return model

    return load_model


def _rebuild_optimizer(model: KerasModel, path: str) -> None:
    """Build the optimizer again, which Keras builds without variables for such a file."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or not optimizer.built or optimized_variables(optimizer):
        return
    import h5py

    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(model.trainable_variables)
    with h5py.File(path, "r") as file:
        saved = [value[()] for value in optimizer_weights(file)]
    if [value.shape for value in saved] == [tuple(v.shape) for v in fresh.variables]:
        fresh.set_weights(saved)
    model.optimizer = fresh


def wrap_model_from_config(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """Configurations of Keras 2: the batch size in a layer's shape, a Sequential as a list."""

    @functools.wraps(original)
    def from_config(config: Any, *args: Any, **kwargs: Any) -> Any:
        inner = config.get("config") if isinstance(config, dict) else None
        if isinstance(inner, list):  # a Sequential as written before Keras 2.2.3
            on_use()
            config = {**config, "config": {"name": "sequential", "layers": inner}}
        elif inner and "batch_input_shape" in inner and config["class_name"] != "InputLayer":
            on_use()
            shape = inner.pop("batch_input_shape")
            config = {**config, "config": {**inner, "input_shape": shape[1:]}}
        return original(config, *args, **kwargs)

    return from_config


def _short_names() -> dict[str, Any]:
    import keras

    losses = keras.losses
    return {
        "mse": losses.mean_squared_error,
        "mae": losses.mean_absolute_error,
        "mape": losses.mean_absolute_percentage_error,
        "msle": losses.mean_squared_logarithmic_error,
    }


def wrap_checkpoint_init(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """``ModelCheckpoint("weights.{epoch}.hdf5", period=5)`` accepts both."""

    @functools.wraps(original)
    def __init__(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        every = kwargs.pop("period", 1)
        only_weights = kwargs.get("save_weights_only", args[3] if len(args) > 3 else False)
        refused = _is_hdf5(filepath) and (only_weights or not str(filepath).endswith(".h5"))
        if every != 1 or refused:
            on_use()
        # Only the constructor checks the suffix, so the real path is set after it.
        accepted = f"{filepath}.weights.h5" if only_weights else f"{filepath}.keras"
        original(self, accepted if refused else filepath, *args, **kwargs)
        if refused:
            self.filepath = str(filepath)
        setattr(self, _PERIOD_ATTRIBUTE, int(every))

    return __init__


def wrap_checkpoint_epoch_end(original: Callable[..., Any], _on_use: OnUse) -> Callable[..., Any]:
    """``ModelCheckpoint`` with ``period=`` skips the epochs in between."""

    @functools.wraps(original)
    def on_epoch_end(self: Any, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % getattr(self, _PERIOD_ATTRIBUTE, 1) == 0:
            original(self, epoch, logs)

    return on_epoch_end
