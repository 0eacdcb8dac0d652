"""Implementations of functions and classes of older versions that have no modern equivalent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from saldiag.core.keras_types import KerasModel

_MERGE_LAYERS = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate",
    "dot": "Dot",
}  # fmt: skip


def merge(inputs: Sequence[Any], mode: str = "sum", **options: Any) -> Any:
    """``merge([a, b], mode="concat")``: the merged tensor.

    Raises:
        NotImplementedError: no merging layer has this mode.
    """
    return _merge_layer_for(mode, **options)(list(inputs))


def legacy_merge_layer(layers: Any = None, mode: str = "sum", **options: Any) -> Any:
    """``Merge(mode="concat")``: the merging layer.

    Raises:
        NotImplementedError: ``layers`` are models to merge in a Sequential, which has one input.
    """
    if layers is not None:
        raise NotImplementedError(
            "Merge([…]) of models in a Sequential is not emulated: a Sequential has one input;"
            " use keras.Model(inputs, outputs) with keras.layers.concatenate or add"
        )
    return _merge_layer_for(mode, **options)


def _merge_layer_for(
    mode: str,
    concat_axis: int = -1,
    dot_axes: Any = -1,
    name: str | None = None,
    **_: Any,
) -> Any:
    import keras

    if mode not in _MERGE_LAYERS:
        raise NotImplementedError(f"merge with mode={mode!r} is not emulated: write a custom layer")
    extra = {"concat": {"axis": concat_axis}, "dot": {"axes": dot_axes}}.get(mode, {})
    return getattr(keras.layers, _MERGE_LAYERS[mode])(name=name, **extra)


def multi_gpu_model(model: KerasModel, *_: Any, **__: Any) -> Any:
    """The unchanged model: it trains on one device."""
    return model


def image_dim_ordering() -> str:
    """``K.image_dim_ordering()``: ``th`` or ``tf``."""
    import keras

    return {"channels_first": "th", "channels_last": "tf"}[keras.backend.image_data_format()]


def set_image_dim_ordering(ordering: str) -> None:
    """``K.set_image_dim_ordering("th")`` or ``"tf"``."""
    import keras

    keras.backend.set_image_data_format({"th": "channels_first", "tf": "channels_last"}[ordering])


def function(inputs: Sequence[Any], outputs: Sequence[Any], **_: Any) -> Callable[[Any], list[Any]]:
    """``K.function([model.input], [layer.output])``: returns the outputs in inference mode."""
    import keras

    model = keras.Model(list(inputs), list(outputs))

    def compute_outputs(values: Any) -> list[Any]:
        return [keras.ops.convert_to_numpy(value) for value in model(list(values), training=False)]

    return compute_outputs


def set_value(x: Any, value: Any) -> None:
    """``K.set_value(variable, value)``."""
    x.assign(value)


def update(x: Any, new_x: Any) -> Any:
    """``K.update``: assigns ``new_x``."""
    return x.assign(new_x)


def update_add(x: Any, increment: Any) -> Any:
    """``K.update_add``: adds ``increment`` in place."""
    return x.assign_add(increment)


def update_sub(x: Any, decrement: Any) -> Any:
    """``K.update_sub``: subtracts ``decrement`` in place."""
    return x.assign_sub(decrement)


def to_float(x: Any, name: str = "ToFloat") -> Any:
    """``tf.to_float``: casts to float32."""
    import tensorflow as tf

    return tf.cast(x, tf.float32, name=name)


def to_int32(x: Any, name: str = "ToInt32") -> Any:
    """``tf.to_int32``: casts to int32."""
    import tensorflow as tf

    return tf.cast(x, tf.int32, name=name)
