"""What stands for functions and classes of older versions that have no twin today."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_MERGE_LAYERS = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate",
    "dot": "Dot",
}  # fmt: skip


def merge(inputs: Sequence[Any], mode: str = "sum", **options: Any) -> Any:
    """``merge([a, b], mode="concat")``: the tensors, merged.

    Raises:
        NotImplementedError: a mode that no layer has.
    """
    return _merge_layer_for(mode, **options)(list(inputs))


def legacy_merge_layer(layers: Any = None, mode: str = "sum", **options: Any) -> Any:
    """``Merge(mode="concat")``: the layer.

    Raises:
        NotImplementedError: it is to merge models inside a Sequential, which takes one input.
    """
    if layers is not None:
        raise NotImplementedError(
            "Merge([…]) of models in a Sequential is not bridged: a Sequential takes one input. "
            "Write keras.Model(inputs, outputs) with keras.layers.concatenate or add"
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
        raise NotImplementedError(
            f"merge with mode={mode!r} is not bridged: write a layer of your own"
        )
    extra = {"concat": {"axis": concat_axis}, "dot": {"axes": dot_axes}}.get(mode, {})
    return getattr(keras.layers, _MERGE_LAYERS[mode])(name=name, **extra)


def multi_gpu_model(model: Any, *_: Any, **__: Any) -> Any:
    """The model as it is: it trains on one device."""
    return model


def image_dim_ordering() -> str:
    """``th`` or ``tf``."""
    import keras

    return {"channels_first": "th", "channels_last": "tf"}[keras.backend.image_data_format()]


def set_image_dim_ordering(ordering: str) -> None:
    """From ``th`` or ``tf``."""
    import keras

    keras.backend.set_image_data_format({"th": "channels_first", "tf": "channels_last"}[ordering])


def function(inputs: Sequence[Any], outputs: Sequence[Any], **_: Any) -> Callable[[Any], list[Any]]:
    """``K.function([model.input], [layer.output])``: values of the outputs, in inference mode."""
    import keras

    model = keras.Model(list(inputs), list(outputs))

    def call(values: Any) -> list[Any]:
        return [keras.ops.convert_to_numpy(value) for value in model(list(values), training=False)]

    return call


def set_value(x: Any, value: Any) -> None:
    """``K.set_value(optimizer.lr, 0.1)``."""
    x.assign(value)


def update(x: Any, new_x: Any) -> Any:
    """``K.update``."""
    return x.assign(new_x)


def update_add(x: Any, increment: Any) -> Any:
    """``K.update_add``."""
    return x.assign_add(increment)


def update_sub(x: Any, decrement: Any) -> Any:
    """``K.update_sub``."""
    return x.assign_sub(decrement)


def to_float(x: Any, name: str = "ToFloat") -> Any:
    """As float32."""
    import tensorflow as tf

    return tf.cast(x, tf.float32, name=name)


def to_int32(x: Any, name: str = "ToInt32") -> Any:
    """As int32."""
    import tensorflow as tf

    return tf.cast(x, tf.int32, name=name)
