"""Table of modules and names that moved or disappeared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from saldiag.subject.compat import stand_ins
from saldiag.subject.compat.entries import MovedModule, MovedName

_KERAS_LEGACY = "keras._tf_keras.keras"
"""Package in which Keras 3 keeps what only ``tf.keras`` offers."""

_EAGER_EXECUTION = "eager execution: TensorFlow 2 has no graphs to fill and no sessions"

_MOVED_MODULES = {
    "keras.layers.core": "keras.layers",
    "keras.layers.advanced_activations": "keras.layers",
    "keras.layers.normalization": "keras.layers",
    "keras.layers.convolutional": "keras.layers",
    "keras.layers.convolutional_recurrent": "keras.layers",
    "keras.layers.pooling": "keras.layers",
    "keras.layers.recurrent": "keras.layers",
    "keras.layers.embeddings": "keras.layers",
    "keras.layers.wrappers": "keras.layers",
    "keras.layers.noise": "keras.layers",
    "keras.layers.experimental": "keras.layers",
    "keras.layers.experimental.preprocessing": "keras.layers",
    "keras.engine": "keras.layers",
    "keras.engine.topology": "keras.layers",
    "keras.engine.base_layer": "keras.layers",
    "keras.engine.training": "keras.models",
    "keras.engine.sequential": "keras.models",
    "keras.utils.np_utils": "keras.utils",
    "keras.utils.generic_utils": "keras.utils",
    "keras.utils.vis_utils": "keras.utils",
    "keras.utils.data_utils": "keras.utils",
    "keras.utils.layer_utils": "keras.utils",
    "keras.utils.training_utils": "keras.utils",
    "keras.callbacks.callbacks": "keras.callbacks",
    "keras.objectives": "keras.losses",
    "keras.initializations": "keras.initializers",
    "keras.preprocessing.text": f"{_KERAS_LEGACY}.preprocessing.text",
    "keras.backend.tensorflow_backend": "keras.backend",
    "keras.optimizers.adam_v2": "keras.optimizers",
    "keras.optimizers.gradient_descent_v2": "keras.optimizers",
    "keras.optimizers.rmsprop_v2": "keras.optimizers",
}

_ADVISED_MODULES = {
    "keras.preprocessing.text": "keras.layers.TextVectorization",
    "keras.layers.experimental": "keras.layers",
}
"""Modules whose advice differs from the module that stands in for them."""


def _moved_module(old: str, to: str) -> MovedModule:
    place, _, name = old.rpartition(".")
    return MovedModule(place, name, _ADVISED_MODULES.get(old, to), target=to)


def _moved_name(old: str, to: str | Callable[[], Any] | None, write: str = "") -> MovedName:
    place, _, name = old.rpartition(".")
    return MovedName(place, name, write or (to if isinstance(to, str) else ""), target=to)


def _renamed_in(place: str, names: dict[str, str]) -> tuple[MovedName, ...]:
    return tuple(_moved_name(f"{place}.{old}", f"{place}.{new}") for old, new in names.items())


_OPTIMIZERS = _renamed_in(
    "keras.optimizers",
    {
        "adam": "Adam",
        "sgd": "SGD",
        "rmsprop": "RMSprop",
        "adagrad": "Adagrad",
        "adadelta": "Adadelta",
        "adamax": "Adamax",
        "nadam": "Nadam",
    },
)

_FUNCTIONS = (
    *_renamed_in(
        "keras.losses",
        {
            "mse": "mean_squared_error",
            "MSE": "mean_squared_error",
            "mae": "mean_absolute_error",
            "MAE": "mean_absolute_error",
            "mape": "mean_absolute_percentage_error",
            "msle": "mean_squared_logarithmic_error",
            "cosine_proximity": "cosine_similarity",
            "kullback_leibler_divergence": "kl_divergence",
        },
    ),
    *_renamed_in(
        "keras.initializers",
        {
            "normal": "RandomNormal",
            "uniform": "RandomUniform",
            "zero": "Zeros",
            "one": "Ones",
        },
    ),
    _moved_name("keras.regularizers.l1l2", "keras.regularizers.L1L2"),
    _moved_name("keras.regularizers.activity_l2", "keras.regularizers.L2"),
    _moved_name("keras.regularizers.activity_l1", "keras.regularizers.L1"),
)

_LAYERS = (
    MovedModule(
        "keras.layers",
        "merge",
        "keras.layers.add, concatenate, …",
        "keras.layers",
        call=stand_ins.merge,
    ),
    _moved_name(
        "keras.layers.Merge",
        lambda: stand_ins.legacy_merge_layer,
        "keras.layers.Add(), Concatenate(), … of the functional API",
    ),
    _moved_name("keras.layers.CuDNNLSTM", "keras.layers.LSTM"),
    _moved_name("keras.layers.CuDNNGRU", "keras.layers.GRU"),
    _moved_name("keras.layers.Deconvolution2D", "keras.layers.Conv2DTranspose"),
    _moved_name("keras.layers.AtrousConvolution2D", None, "keras.layers.Conv2D(dilation_rate=…)"),
    _moved_name(
        "keras.layers.ThresholdedReLU",
        f"{_KERAS_LEGACY}.layers.ThresholdedReLU",
        "keras.layers.ReLU(threshold=…)",
    ),
    _moved_name("keras.layers.MaxoutDense", None, "keras.layers.Dense and keras.ops.max"),
    _moved_name("keras.layers.LocallyConnected1D", None, "a custom layer"),
    _moved_name("keras.layers.LocallyConnected2D", None, "a custom layer"),
    _moved_name(
        "keras.layers.TimeDistributedDense", None, "keras.layers.TimeDistributed(Dense(…))"
    ),
)

_UTILITIES = (
    _moved_name(
        "keras.preprocessing.image.ImageDataGenerator",
        f"{_KERAS_LEGACY}.preprocessing.image.ImageDataGenerator",
        "keras.utils.image_dataset_from_directory and layers such as keras.layers.RandomFlip",
    ),
    _moved_name(
        "keras.preprocessing.sequence.TimeseriesGenerator",
        f"{_KERAS_LEGACY}.preprocessing.sequence.TimeseriesGenerator",
        "keras.utils.timeseries_dataset_from_array",
    ),
    _moved_name(
        "keras.utils.multi_gpu_model",
        lambda: stand_ins.multi_gpu_model,
        "tf.distribute.MirroredStrategy (--compat trains on one device)",
    ),
    _moved_name("keras.models.model_from_yaml", None, "keras.models.model_from_json"),
    _moved_name("keras.wrappers.scikit_learn", None, "scikeras.wrappers, a separate package"),
)

_SAME_NAME_IN_OPS = """
    abs all any argmax argmin arange cast cos cumsum cumprod dot equal exp expand_dims eye greater
    greater_equal less less_equal log max maximum mean min minimum not_equal ones ones_like prod
    round reshape repeat shape sign sin sqrt square squeeze stack std sum tanh tile transpose var
    zeros zeros_like elu hard_sigmoid one_hot relu sigmoid softmax softplus softsign
    binary_crossentropy categorical_crossentropy stop_gradient
""".split()  # noqa: SIM905 - a list would take ninety lines

_BACKEND_REPLACEMENTS = {
    "batch_dot": "keras.ops.einsum", "batch_flatten": "keras.ops.reshape(x, (len(x), -1))",
    "batch_get_value": "keras.ops.convert_to_numpy of each", "batch_set_value": "variable.assign",
    "bias_add": "x + bias", "clip": "keras.ops.clip", "conv1d": "keras.ops.conv",
    "concatenate": "keras.ops.concatenate(axis=-1)", "conv2d": "keras.ops.conv",
    "constant": "keras.ops.convert_to_tensor",
    "count_params": "keras.ops.size", "ctc_batch_cost": "keras.losses.CTC",
    "ctc_decode": "keras.ops.ctc_decode", "dropout": "keras.random.dropout", "dtype": "x.dtype",
    "eval": "keras.ops.convert_to_numpy", "flatten": "keras.ops.reshape(x, (-1,))",
    "gather": "keras.ops.take(axis=0)", "get_value": "keras.ops.convert_to_numpy",
    "gradients": "tf.GradientTape", "in_top_k": "keras.ops.in_top_k", "int_shape": "x.shape",
    "l2_normalize": "keras.ops.normalize", "map_fn": "keras.ops.map", "ndim": "keras.ops.ndim",
    "permute_dimensions": "keras.ops.transpose(x, axes)", "pool2d": "keras.ops.max_pool",
    "pow": "keras.ops.power", "random_normal": "keras.random.normal",
    "random_uniform": "keras.random.uniform", "repeat_elements": "keras.ops.repeat",
    "resize_images": "keras.ops.image.resize", "reverse": "keras.ops.flip",
    "sparse_categorical_crossentropy": "keras.ops.sparse_categorical_crossentropy",
    "switch": "keras.ops.cond", "truncated_normal": "keras.random.truncated_normal",
    "variable": "keras.Variable", "batch_normalization": "keras.ops.batch_normalization",
    "cast_to_floatx": "keras.ops.cast(x, keras.config.floatx())", "conv3d": "keras.ops.conv",
    "conv2d_transpose": "keras.ops.conv_transpose", "pool3d": "keras.ops.max_pool",
    "depthwise_conv2d": "keras.ops.depthwise_conv", "separable_conv2d": "keras.ops.separable_conv",
    "moving_average_update": "variable.assign", "name_scope": "keras.name_scope",
    "random_bernoulli": "keras.random.binomial", "rnn": "keras.layers.RNN",
    "spatial_2d_padding": "keras.layers.ZeroPadding2D",
    "spatial_3d_padding": "keras.layers.ZeroPadding3D",
    "temporal_padding": "keras.layers.ZeroPadding1D",
}  # fmt: skip

_ASSIGNMENTS = {
    "set_value": "variable.assign",
    "update": "variable.assign",
    "update_add": "variable.assign_add",
    "update_sub": "variable.assign_sub",
}
"""Functions whose legacy version in Keras 3 handles only ``tf.Variable``; emulated here instead."""

_BACKEND = (
    *(
        _moved_name(f"keras.backend.{name}", f"{_KERAS_LEGACY}.backend.{name}", write)
        for name, write in {
            **{name: f"keras.ops.{name}" for name in _SAME_NAME_IN_OPS},
            **_BACKEND_REPLACEMENTS,
        }.items()
    ),
    *(
        _moved_name(f"keras.backend.{name}", functools.partial(getattr, stand_ins, name), write)
        for name, write in _ASSIGNMENTS.items()
    ),
    _moved_name(
        "keras.backend.image_dim_ordering",
        lambda: stand_ins.image_dim_ordering,
        "keras.backend.image_data_format",
    ),
    _moved_name(
        "keras.backend.set_image_dim_ordering",
        lambda: stand_ins.set_image_dim_ordering,
        "keras.backend.set_image_data_format",
    ),
    _moved_name(
        "keras.backend.function", lambda: stand_ins.function, "keras.Model(inputs, outputs)"
    ),
    _moved_name("keras.backend.learning_phase", None, "training= of the call"),
    _moved_name("keras.backend.set_learning_phase", None, "training= of the call"),
    _moved_name("keras.backend.get_session", None, _EAGER_EXECUTION),
    _moved_name("keras.backend.set_session", None, _EAGER_EXECUTION),
    _moved_name("keras.backend.placeholder", None, "keras.Input"),
)

_NUMPY = tuple(
    _moved_name(f"numpy.{old}", to, write)
    for old, to, write in (  # numpy.bool exists again since numpy 2
        ("int", lambda: int, "int"),
        ("float", lambda: float, "float"),
        ("complex", lambda: complex, "complex"),
        ("object", lambda: object, "object"),
        ("str", lambda: str, "str"),
        ("float_", "numpy.float64", ""),
        ("complex_", "numpy.complex128", ""),
        ("unicode_", "numpy.str_", ""),
        ("string_", "numpy.bytes_", ""),
        ("int0", "numpy.intp", ""),
        ("Inf", "numpy.inf", ""),
        ("infty", "numpy.inf", ""),
        ("NaN", "numpy.nan", ""),
        ("NAN", "numpy.nan", ""),
        ("product", "numpy.prod", ""),
        ("cumproduct", "numpy.cumprod", ""),
        ("sometrue", "numpy.any", ""),
        ("alltrue", "numpy.all", ""),
        ("round_", "numpy.round", ""),
        ("asscalar", lambda: lambda a: a.item(), "a.item()"),
    )
)

_TENSORFLOW = (
    _moved_name("tensorflow.set_random_seed", "tensorflow.random.set_seed"),
    _moved_name("tensorflow.log", "tensorflow.math.log"),
    _moved_name("tensorflow.random_normal", "tensorflow.random.normal"),
    _moved_name("tensorflow.random_uniform", "tensorflow.random.uniform"),
    _moved_name("tensorflow.to_float", lambda: stand_ins.to_float, "tf.cast(x, tf.float32)"),
    _moved_name("tensorflow.to_int32", lambda: stand_ins.to_int32, "tf.cast(x, tf.int32)"),
    _moved_name("tensorflow.Session", None, _EAGER_EXECUTION),
    _moved_name("tensorflow.InteractiveSession", None, _EAGER_EXECUTION),
    _moved_name(
        "tensorflow.placeholder",
        None,
        f"keras.Input for a model's input, elsewhere {_EAGER_EXECUTION}",
    ),
    _moved_name("tensorflow.get_default_graph", None, _EAGER_EXECUTION),
    _moved_name("tensorflow.global_variables_initializer", None, _EAGER_EXECUTION),
    _moved_name("tensorflow.get_variable", None, "tf.Variable"),
    _moved_name("tensorflow.ConfigProto", None, "tf.config.experimental.set_memory_growth"),
    _moved_name("tensorflow.logging", None, "tf.get_logger()"),
    _moved_name("tensorflow.contrib", None, "core TensorFlow or a separate package"),
)

NAMES: tuple[MovedName, ...] = (
    *(_moved_module(old, to) for old, to in _MOVED_MODULES.items()),
    *_OPTIMIZERS,
    *_FUNCTIONS,
    *_LAYERS,
    *_UTILITIES,
    *_BACKEND,
    *_NUMPY,
    *_TENSORFLOW,
)
"""All modules and names."""
