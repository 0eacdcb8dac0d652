"""Table of keyword arguments that were renamed, or have no meaning today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saldiag.subject.compat.entries import Call, RenamedArgument, drop_argument, rename_argument
from saldiag.subject.compat.rates import translate_decay, translate_lr

_DATA_FORMATS = {"th": "channels_first", "tf": "channels_last", "default": None}


def _rename_in(
    owners: tuple[str, ...], names: Mapping[str, str], values: Mapping[Any, Any] | None = None
) -> tuple[RenamedArgument, ...]:
    return tuple(
        RenamedArgument(owner, old, f"{new}=", translate=rename_argument(new, values))
        for owner in owners
        for old, new in names.items()
    )


def _drop_in(owners: tuple[str, ...], *names: str) -> tuple[RenamedArgument, ...]:
    return tuple(
        RenamedArgument(owner, old, "", translate=drop_argument)
        for owner in owners
        for old in names
    )


def _layers_named(*names: str) -> tuple[str, ...]:
    return tuple(f"keras.layers.{name}" for name in names)


_RATE_ARGUMENTS = (
    RenamedArgument("keras.optimizers.Optimizer", "lr", "learning_rate=", translate=translate_lr),
    RenamedArgument(
        "keras.optimizers.Optimizer",
        "decay",
        "learning_rate=keras.optimizers.schedules.InverseTimeDecay(rate, 1, decay)",
        translate=translate_decay,
    ),
)


def _drop_none(call: Call, value: Any) -> bool:
    """``epsilon=None`` meant the default, which is still the same number."""
    return value is None and "epsilon" not in call.kwargs


_EPSILON_ARGUMENTS = tuple(
    RenamedArgument(
        f"keras.optimizers.{name}", "epsilon", "no argument instead of None", translate=_drop_none
    )
    for name in ("Adam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam")
)

_KERNEL_ARGUMENTS = {
    "init": "kernel_initializer", "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer", "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint", "bias": "use_bias",
}  # fmt: skip

_CONV2D = _layers_named("Conv2D", "Conv2DTranspose", "SeparableConv2D")
_RECURRENT = _layers_named("LSTM", "GRU", "SimpleRNN")


def _translate_conv2d(new: str, values: Mapping[Any, Any] | None = None) -> Any:
    """Rename a keyword, and merge rows and columns: ``Convolution2D(32, 3, 3, border_mode=…)``."""
    rename = rename_argument(new, values)

    def translate_call(call: Call, value: Any) -> None:
        rename(call, value)
        if len(call.args) == 3 and all(isinstance(size, int) for size in call.args):
            call.args[1:] = [(call.args[1], call.args[2])]

    return translate_call


def _set_kernel_rows(call: Call, value: Any) -> None:
    call.kwargs["kernel_size"] = (value, call.kwargs.pop("nb_col", value))


def _set_kernel_columns(call: Call, value: Any) -> None:
    before = call.kwargs.get("kernel_size", value)
    call.kwargs["kernel_size"] = (before[0] if isinstance(before, tuple) else before, value)


def _set_input_length(call: Call, value: Any) -> bool:
    """``input_length=`` and ``input_dim=`` together are the input shape."""
    if "input_dim" not in call.kwargs:
        return False
    call.kwargs["input_shape"] = (value, call.kwargs.pop("input_dim"))
    return True


_LAYER_ARGUMENTS = (
    *_rename_in(_layers_named("Dense"), {"output_dim": "units", **_KERNEL_ARGUMENTS}),
    *_rename_in(
        _layers_named("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout"),
        {"p": "rate"},
    ),
    *_rename_in(_layers_named("GaussianNoise"), {"sigma": "stddev"}),
    *_rename_in(
        _layers_named("Embedding"),
        {
            "init": "embeddings_initializer",
            "W_regularizer": "embeddings_regularizer",
            "W_constraint": "embeddings_constraint",
        },
    ),
    *_drop_in(_layers_named("Embedding"), "dropout"),
    *_rename_in(
        _layers_named("BatchNormalization"),
        {"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"},
    ),
    *_drop_in(_layers_named("BatchNormalization"), "mode"),
    *_rename_in(
        _layers_named("Conv1D"),
        {
            "nb_filter": "filters",
            "filter_length": "kernel_size",
            "subsample_length": "strides",
            "border_mode": "padding",
            **_KERNEL_ARGUMENTS,
        },
    ),
    *(
        RenamedArgument(owner, old, f"{new}=", translate=_translate_conv2d(new))
        for owner in _CONV2D
        for old, new in {
            "nb_filter": "filters",
            "border_mode": "padding",
            "subsample": "strides",
            **_KERNEL_ARGUMENTS,
        }.items()
    ),
    *(
        RenamedArgument(
            owner,
            "dim_ordering",
            "data_format=",
            translate=_translate_conv2d("data_format", _DATA_FORMATS),
        )
        for owner in _CONV2D
    ),
    *(
        RenamedArgument(owner, "nb_row", "kernel_size=", translate=_set_kernel_rows)
        for owner in _CONV2D
    ),
    *(
        RenamedArgument(owner, "nb_col", "kernel_size=", translate=_set_kernel_columns)
        for owner in _CONV2D
    ),
    *_rename_in(
        _layers_named("MaxPooling1D", "AveragePooling1D"),
        {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"},
    ),
    *_rename_in(_layers_named("MaxPooling2D", "AveragePooling2D"), {"border_mode": "padding"}),
    *_rename_in(
        _layers_named(
            "MaxPooling2D",
            "AveragePooling2D",
            "UpSampling2D",
            "ZeroPadding2D",
            "GlobalAveragePooling2D",
            "GlobalMaxPooling2D",
            "Flatten",
        ),
        {"dim_ordering": "data_format"},
        _DATA_FORMATS,
    ),
    *_rename_in(_layers_named("UpSampling1D"), {"length": "size"}),
    *_rename_in(
        _RECURRENT,
        {
            "output_dim": "units",
            "init": "kernel_initializer",
            "inner_init": "recurrent_initializer",
            "inner_activation": "recurrent_activation",
            "W_regularizer": "kernel_regularizer",
            "U_regularizer": "recurrent_regularizer",
            "b_regularizer": "bias_regularizer",
            "dropout_W": "dropout",
            "dropout_U": "recurrent_dropout",
        },
    ),
    *_drop_in(_RECURRENT, "consume_less", "forget_bias_init"),
    *(
        RenamedArgument(owner, "input_length", "input_shape=", translate=_set_input_length)
        for owner in (*_RECURRENT, "keras.layers.Conv1D")
    ),
)

_QUEUE_ARGUMENTS = ("workers", "use_multiprocessing", "max_queue_size", "max_q_size", "nb_worker",
          "pickle_safe")  # fmt: skip

_MODEL_ARGUMENTS = (
    *(
        RenamedArgument(
            "keras.Model",
            old,
            f"{old}s=",
            translate=rename_argument(f"{old}s"),
            taken_by="keras.src.models.functional.Functional",
        )
        for old in ("input", "output")
    ),
    *_rename_in(("keras.Model.fit",), {"nb_epoch": "epochs"}),
    *_drop_in(("keras.Model.fit",), "show_accuracy"),
    *_drop_in(
        ("keras.Model.fit", "keras.Model.evaluate", "keras.Model.predict"), *_QUEUE_ARGUMENTS
    ),
    *_drop_in(("keras.Model.compile",), "sample_weight_mode", "class_mode", "target_tensors"),
)

_OTHER_ARGUMENTS = (
    *_rename_in(("keras.utils.to_categorical",), {"nb_classes": "num_classes"}),
    *_rename_in(("keras.callbacks.ReduceLROnPlateau",), {"epsilon": "min_delta"}),
    *_drop_in(
        ("keras.callbacks.TensorBoard",),
        "write_grads",
        "batch_size",
        "embeddings_layer_names",
        "embeddings_data",
    ),
)

ARGUMENTS: tuple[RenamedArgument, ...] = (
    *_RATE_ARGUMENTS,
    *_EPSILON_ARGUMENTS,
    *_LAYER_ARGUMENTS,
    *_MODEL_ARGUMENTS,
    *_OTHER_ARGUMENTS,
)
"""All keyword arguments."""
