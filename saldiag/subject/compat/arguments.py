"""Keywords that are called otherwise today, or have no meaning any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saldiag.subject.compat.entries import Call, RenamedArgument, drop_argument, rename_argument
from saldiag.subject.compat.rates import translate_decay, translate_lr

_DATA_FORMATS = {"th": "channels_first", "tf": "channels_last", "default": None}


def _renamed_arguments(
    places: tuple[str, ...], names: Mapping[str, str], values: Mapping[Any, Any] | None = None
) -> tuple[RenamedArgument, ...]:
    return tuple(
        RenamedArgument(place, old, f"{new}=", change=rename_argument(new, values))
        for place in places
        for old, new in names.items()
    )


def _dropped_arguments(places: tuple[str, ...], *names: str) -> tuple[RenamedArgument, ...]:
    return tuple(
        RenamedArgument(place, old, "", change=drop_argument) for place in places for old in names
    )


def _layer_names(*names: str) -> tuple[str, ...]:
    return tuple(f"keras.layers.{name}" for name in names)


_RATE_ARGUMENTS = (
    RenamedArgument("keras.optimizers.Optimizer", "lr", "learning_rate=", change=translate_lr),
    RenamedArgument(
        "keras.optimizers.Optimizer",
        "decay",
        "learning_rate=keras.optimizers.schedules.InverseTimeDecay(rate, 1, decay)",
        change=translate_decay,
    ),
)


def _drop_none(call: Call, value: Any) -> bool:
    """``epsilon=None`` was the default: today's is the same number."""
    return value is None and "epsilon" not in call.kwargs


_EPSILON_ARGUMENTS = tuple(
    RenamedArgument(f"keras.optimizers.{name}", "epsilon", "nothing for None", change=_drop_none)
    for name in ("Adam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam")
)

_KERNEL_ARGUMENTS = {
    "init": "kernel_initializer", "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer", "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint", "bias": "use_bias",
}  # fmt: skip

_CONV2D = _layer_names("Conv2D", "Conv2DTranspose", "SeparableConv2D")
_RECURRENT = _layer_names("LSTM", "GRU", "SimpleRNN")


def _translate_conv2d(new: str, values: Mapping[Any, Any] | None = None) -> Any:
    """The keyword, and what stands beside it: ``Convolution2D(32, 3, 3, border_mode=…)``."""
    change = rename_argument(new, values)

    def with_kernel(call: Call, value: Any) -> None:
        change(call, value)
        if len(call.args) == 3 and all(isinstance(size, int) for size in call.args):
            call.args[1:] = [(call.args[1], call.args[2])]

    return with_kernel


def _set_kernel_rows(call: Call, value: Any) -> None:
    call.kwargs["kernel_size"] = (value, call.kwargs.pop("nb_col", value))


def _set_kernel_columns(call: Call, value: Any) -> None:
    before = call.kwargs.get("kernel_size", value)
    call.kwargs["kernel_size"] = (before[0] if isinstance(before, tuple) else before, value)


def _set_input_length(call: Call, value: Any) -> bool:
    """``input_length=`` beside ``input_dim=``: together the shape of the input."""
    if "input_dim" not in call.kwargs:
        return False
    call.kwargs["input_shape"] = (value, call.kwargs.pop("input_dim"))
    return True


_LAYER_ARGUMENTS = (
    *_renamed_arguments(_layer_names("Dense"), {"output_dim": "units", **_KERNEL_ARGUMENTS}),
    *_renamed_arguments(_layer_names("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout"),
         {"p": "rate"}),
    *_renamed_arguments(_layer_names("GaussianNoise"), {"sigma": "stddev"}),
    *_renamed_arguments(_layer_names("Embedding"), {
        "init": "embeddings_initializer", "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
    }),
    *_dropped_arguments(_layer_names("Embedding"), "dropout"),
    *_renamed_arguments(_layer_names("BatchNormalization"),
         {"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"}),
    *_dropped_arguments(_layer_names("BatchNormalization"), "mode"),
    *_renamed_arguments(_layer_names("Conv1D"), {
        "nb_filter": "filters", "filter_length": "kernel_size", "subsample_length": "strides",
        "border_mode": "padding", **_KERNEL_ARGUMENTS,
    }),
    *(
        RenamedArgument(place, old, f"{new}=", change=_translate_conv2d(new))
        for place in _CONV2D
        for old, new in {
            "nb_filter": "filters", "border_mode": "padding", "subsample": "strides", **_KERNEL_ARGUMENTS,
        }.items()
    ),
    *(
        RenamedArgument(place, "dim_ordering", "data_format=",
                 change=_translate_conv2d("data_format", _DATA_FORMATS))
        for place in _CONV2D
    ),
    *(RenamedArgument(place, "nb_row", "kernel_size=", change=_set_kernel_rows) for place in _CONV2D),
    *(RenamedArgument(place, "nb_col", "kernel_size=", change=_set_kernel_columns) for place in _CONV2D),
    *_renamed_arguments(_layer_names("MaxPooling1D", "AveragePooling1D"),
         {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"}),
    *_renamed_arguments(_layer_names("MaxPooling2D", "AveragePooling2D"), {"border_mode": "padding"}),
    *_renamed_arguments(_layer_names("MaxPooling2D", "AveragePooling2D", "UpSampling2D", "ZeroPadding2D",
                 "GlobalAveragePooling2D", "GlobalMaxPooling2D", "Flatten"),
         {"dim_ordering": "data_format"}, _DATA_FORMATS),
    *_renamed_arguments(_layer_names("UpSampling1D"), {"length": "size"}),
    *_renamed_arguments(_RECURRENT, {
        "output_dim": "units", "init": "kernel_initializer", "inner_init": "recurrent_initializer",
        "inner_activation": "recurrent_activation", "W_regularizer": "kernel_regularizer",
        "U_regularizer": "recurrent_regularizer", "b_regularizer": "bias_regularizer",
        "dropout_W": "dropout", "dropout_U": "recurrent_dropout",
    }),
    *_dropped_arguments(_RECURRENT, "consume_less", "forget_bias_init"),
    *(RenamedArgument(place, "input_length", "input_shape=", change=_set_input_length)
      for place in (*_RECURRENT, "keras.layers.Conv1D")),
)  # fmt: skip

_QUEUE_ARGUMENTS = ("workers", "use_multiprocessing", "max_queue_size", "max_q_size", "nb_worker",
          "pickle_safe")  # fmt: skip

_MODEL_ARGUMENTS = (
    *(
        RenamedArgument("keras.Model", old, f"{old}s=", change=rename_argument(f"{old}s"),
                 inside="keras.src.models.functional.Functional")
        for old in ("input", "output")
    ),
    *_renamed_arguments(("keras.Model.fit",), {"nb_epoch": "epochs"}),
    *_dropped_arguments(("keras.Model.fit",), "show_accuracy"),
    *_dropped_arguments(
        ("keras.Model.fit", "keras.Model.evaluate", "keras.Model.predict"), *_QUEUE_ARGUMENTS
    ),
    *_dropped_arguments(("keras.Model.compile",), "sample_weight_mode", "class_mode", "target_tensors"),
)  # fmt: skip

_OTHER_ARGUMENTS = (
    *_renamed_arguments(("keras.utils.to_categorical",), {"nb_classes": "num_classes"}),
    *_renamed_arguments(("keras.callbacks.ReduceLROnPlateau",), {"epsilon": "min_delta"}),
    *_dropped_arguments(("keras.callbacks.TensorBoard",), "write_grads", "batch_size",
              "embeddings_layer_names", "embeddings_data"),
)  # fmt: skip

ARGUMENTS: tuple[RenamedArgument, ...] = (
    *_RATE_ARGUMENTS,
    *_EPSILON_ARGUMENTS,
    *_LAYER_ARGUMENTS,
    *_MODEL_ARGUMENTS,
    *_OTHER_ARGUMENTS,
)
"""Every keyword."""
