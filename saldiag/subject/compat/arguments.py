"""Keywords that are called otherwise today, or have no meaning any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saldiag.subject.compat.entries import Argument, Call, dropped, renamed
from saldiag.subject.compat.rates import with_decay, with_rate

_ORDERING = {"th": "channels_first", "tf": "channels_last", "default": None}


def _on(
    places: tuple[str, ...], names: Mapping[str, str], values: Mapping[Any, Any] | None = None
) -> tuple[Argument, ...]:
    return tuple(
        Argument(place, old, f"{new}=", change=renamed(new, values))
        for place in places
        for old, new in names.items()
    )


def _without(places: tuple[str, ...], *names: str) -> tuple[Argument, ...]:
    return tuple(Argument(place, old, "", change=dropped) for place in places for old in names)


def _layers(*names: str) -> tuple[str, ...]:
    return tuple(f"keras.layers.{name}" for name in names)


_RATES = (
    Argument("keras.optimizers.Optimizer", "lr", "learning_rate=", change=with_rate),
    Argument(
        "keras.optimizers.Optimizer",
        "decay",
        "learning_rate=keras.optimizers.schedules.InverseTimeDecay(rate, 1, decay)",
        change=with_decay,
    ),
)


def _unless_none(call: Call, value: Any) -> bool:
    """``epsilon=None`` was the default: today's is the same number."""
    return value is None and "epsilon" not in call.kwargs


_EPSILON = tuple(
    Argument(f"keras.optimizers.{name}", "epsilon", "nothing for None", change=_unless_none)
    for name in ("Adam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam")
)

_INITS = {
    "init": "kernel_initializer", "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer", "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint", "bias": "use_bias",
}  # fmt: skip

_KERNEL = _layers("Conv2D", "Conv2DTranspose", "SeparableConv2D")
_RECURRENT = _layers("LSTM", "GRU", "SimpleRNN")


def _in_two_dimensions(new: str, values: Mapping[Any, Any] | None = None) -> Any:
    """The keyword, and what stands beside it: ``Convolution2D(32, 3, 3, border_mode=…)``."""
    change = renamed(new, values)

    def with_kernel(call: Call, value: Any) -> None:
        change(call, value)
        if len(call.args) == 3 and all(isinstance(size, int) for size in call.args):
            call.args[1:] = [(call.args[1], call.args[2])]

    return with_kernel


def _rows(call: Call, value: Any) -> None:
    call.kwargs["kernel_size"] = (value, call.kwargs.pop("nb_col", value))


def _columns(call: Call, value: Any) -> None:
    before = call.kwargs.get("kernel_size", value)
    call.kwargs["kernel_size"] = (before[0] if isinstance(before, tuple) else before, value)


def _length(call: Call, value: Any) -> bool:
    """``input_length=`` beside ``input_dim=``: together the shape of the input."""
    if "input_dim" not in call.kwargs:
        return False
    call.kwargs["input_shape"] = (value, call.kwargs.pop("input_dim"))
    return True


_LAYER_ARGUMENTS = (
    *_on(_layers("Dense"), {"output_dim": "units", **_INITS}),
    *_on(_layers("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout"),
         {"p": "rate"}),
    *_on(_layers("GaussianNoise"), {"sigma": "stddev"}),
    *_on(_layers("Embedding"), {
        "init": "embeddings_initializer", "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
    }),
    *_without(_layers("Embedding"), "dropout"),
    *_on(_layers("BatchNormalization"),
         {"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"}),
    *_without(_layers("BatchNormalization"), "mode"),
    *_on(_layers("Conv1D"), {
        "nb_filter": "filters", "filter_length": "kernel_size", "subsample_length": "strides",
        "border_mode": "padding", **_INITS,
    }),
    *(
        Argument(place, old, f"{new}=", change=_in_two_dimensions(new))
        for place in _KERNEL
        for old, new in {
            "nb_filter": "filters", "border_mode": "padding", "subsample": "strides", **_INITS,
        }.items()
    ),
    *(
        Argument(place, "dim_ordering", "data_format=",
                 change=_in_two_dimensions("data_format", _ORDERING))
        for place in _KERNEL
    ),
    *(Argument(place, "nb_row", "kernel_size=", change=_rows) for place in _KERNEL),
    *(Argument(place, "nb_col", "kernel_size=", change=_columns) for place in _KERNEL),
    *_on(_layers("MaxPooling1D", "AveragePooling1D"),
         {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"}),
    *_on(_layers("MaxPooling2D", "AveragePooling2D"), {"border_mode": "padding"}),
    *_on(_layers("MaxPooling2D", "AveragePooling2D", "UpSampling2D", "ZeroPadding2D",
                 "GlobalAveragePooling2D", "GlobalMaxPooling2D", "Flatten"),
         {"dim_ordering": "data_format"}, _ORDERING),
    *_on(_layers("UpSampling1D"), {"length": "size"}),
    *_on(_RECURRENT, {
        "output_dim": "units", "init": "kernel_initializer", "inner_init": "recurrent_initializer",
        "inner_activation": "recurrent_activation", "W_regularizer": "kernel_regularizer",
        "U_regularizer": "recurrent_regularizer", "b_regularizer": "bias_regularizer",
        "dropout_W": "dropout", "dropout_U": "recurrent_dropout",
    }),
    *_without(_RECURRENT, "consume_less", "forget_bias_init"),
    *(Argument(place, "input_length", "input_shape=", change=_length)
      for place in (*_RECURRENT, "keras.layers.Conv1D")),
)  # fmt: skip

_QUEUE = ("workers", "use_multiprocessing", "max_queue_size", "max_q_size", "nb_worker",
          "pickle_safe")  # fmt: skip

_MODEL_ARGUMENTS = (
    *(
        Argument("keras.Model", old, f"{old}s=", change=renamed(f"{old}s"),
                 inside="keras.src.models.functional.Functional")
        for old in ("input", "output")
    ),
    *_on(("keras.Model.fit",), {"nb_epoch": "epochs"}),
    *_without(("keras.Model.fit",), "show_accuracy"),
    *_without(
        ("keras.Model.fit", "keras.Model.evaluate", "keras.Model.predict"), *_QUEUE
    ),
    *_without(("keras.Model.compile",), "sample_weight_mode", "class_mode", "target_tensors"),
)  # fmt: skip

_OTHER_ARGUMENTS = (
    *_on(("keras.utils.to_categorical",), {"nb_classes": "num_classes"}),
    *_on(("keras.callbacks.ReduceLROnPlateau",), {"epsilon": "min_delta"}),
    *_without(("keras.callbacks.TensorBoard",), "write_grads", "batch_size",
              "embeddings_layer_names", "embeddings_data"),
)  # fmt: skip

ARGUMENTS: tuple[Argument, ...] = (
    *_RATES,
    *_EPSILON,
    *_LAYER_ARGUMENTS,
    *_MODEL_ARGUMENTS,
    *_OTHER_ARGUMENTS,
)
"""Every keyword."""
