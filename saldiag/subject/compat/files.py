"""Files of older versions: ``.h5`` and ``.hdf5``, of whole models, of weights, of checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from saldiag.keras_internals.optimizers import optimized_variables
from saldiag.keras_internals.serialization import optimizer_weights, write_weights
from saldiag.subject.compat.entries import OnUse

HDF5_SUFFIXES = (".h5", ".hdf5")
_PERIOD_ATTRIBUTE = "_saldiag_every"
"""Attribute of a checkpoint: how many epochs there are from one to the next."""


def _is_hdf5(path: Any) -> bool:
    return str(path).endswith(HDF5_SUFFIXES) and not str(path).endswith(".weights.h5")


def wrap_save_weights(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """``model.save_weights("model.h5")``, in the format of Keras 2."""

    @functools.wraps(original)
    def save(model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_hdf5(filepath):
            return original(model, filepath, *args, **kwargs)
        tell()
        import h5py

        with h5py.File(str(filepath), "w") as file:
            write_weights(file, model)
        return None

    return save


def wrap_load_model(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """``load_model("model.h5")``: losses and metrics by their short names."""

    @functools.wraps(original)
    def load(filepath: Any, custom_objects: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not _is_hdf5(filepath):
            return original(filepath, custom_objects, *args, **kwargs)
        tell()
        model = original(filepath, {**_short_names(), **(custom_objects or {})}, *args, **kwargs)
        _rebuild_optimizer(model, str(filepath))
        return model

    return load


def _rebuild_optimizer(model: Any, path: str) -> None:
    """Keras builds the optimizer of such a file for no variable at all, so that none can train."""
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


def wrap_model_from_config(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """A model or a layer in a file: Keras takes the size of the batch for one of the input's."""

    @functools.wraps(original)
    def from_config(config: Any, *args: Any, **kwargs: Any) -> Any:
        inner = config.get("config") if isinstance(config, dict) else None
        if isinstance(inner, list):  # as Keras wrote a Sequential before 2.2.3
            tell()
            config = {**config, "config": {"name": "sequential", "layers": inner}}
        elif inner and "batch_input_shape" in inner and config["class_name"] != "InputLayer":
            tell()
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


def wrap_checkpoint_init(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """``ModelCheckpoint("weights.{epoch}.hdf5", period=5)``."""

    @functools.wraps(original)
    def __init__(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        every = kwargs.pop("period", 1)
        only_weights = kwargs.get("save_weights_only", args[3] if len(args) > 3 else False)
        refused = _is_hdf5(filepath) and (only_weights or not str(filepath).endswith(".h5"))
        if every != 1 or refused:
            tell()
        # Only the constructor looks at the ending.
        accepted = f"{filepath}.weights.h5" if only_weights else f"{filepath}.keras"
        original(self, accepted if refused else filepath, *args, **kwargs)
        if refused:
            self.filepath = str(filepath)
        setattr(self, _PERIOD_ATTRIBUTE, int(every))

    return __init__


def wrap_checkpoint_epoch_end(original: Callable[..., Any], _tell: OnUse) -> Callable[..., Any]:
    """``period=``: the other epochs are passed over."""

    @functools.wraps(original)
    def on_epoch_end(self: Any, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % getattr(self, _PERIOD_ATTRIBUTE, 1) == 0:
            original(self, epoch, logs)

    return on_epoch_end
