"""Networks with normalisation, gates, recurrence, depth and reduced precision."""

import keras

from saldiag.selftest.program import (
    Maker,
    Program,
    binary_data,
    build_chain,
    compile_model,
    layers,
    mask_data,
    regression_data,
    token_data,
)


def _batchnorm(count: int) -> Maker:
    def program(seed: int) -> Program:
        parts = [
            layers.Dense(32, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(1, activation="sigmoid"),
        ]
        model = compile_model(build_chain("functional", (8,), parts), "binary_crossentropy")
        x, y = binary_data(seed, 32)
        batches = [(x[i : i + count], y[i : i + count]) for i in range(0, 32, count)]
        return Program(model, batches[:2])

    program.__name__ = f"batchnorm_{count}"
    return program


def batchnorm_two_pictures(seed: int) -> Program:
    parts = [
        layers.Conv2D(8, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(1, 1, activation="sigmoid"),
    ]
    model = compile_model(build_chain("sequential", (16, 16, 3), parts), "binary_crossentropy")
    return Program(model, [mask_data(seed, 2)])


def frozen_batchnorm_one_item(seed: int) -> Program:
    norm = layers.BatchNormalization()
    norm.trainable = False
    parts = [layers.Dense(32), norm, layers.ReLU(), layers.Dense(1)]
    x, y = regression_data(seed, 4)
    model = compile_model(build_chain("functional", (6,), parts), "mse")
    return Program(model, [(x[i : i + 1], y[i : i + 1]) for i in range(4)])


def _half(policy: str) -> Maker:
    def program(seed: int) -> Program:
        keras.config.set_dtype_policy(policy)
        parts = [
            layers.Dense(32, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(1, activation="sigmoid", dtype="float32"),
        ]
        model = compile_model(build_chain("functional", (8,), parts), "binary_crossentropy")
        return Program(model, [binary_data(seed)])

    program.__name__ = policy
    return program


def tanh_rnn(seed: int) -> Program:
    parts = [
        layers.Embedding(20, 8),
        layers.SimpleRNN(16),
        layers.Dense(1, activation="sigmoid"),
    ]
    model = compile_model(build_chain("sequential", (10,), parts), "binary_crossentropy")
    return Program(model, [token_data(seed)])


def _gated(kind: str) -> Maker:
    def program(seed: int) -> Program:
        cell = getattr(layers, kind)(16)
        parts = [layers.Embedding(20, 8), cell, layers.Dense(1, activation="sigmoid")]
        model = compile_model(build_chain("functional", (10,), parts), "binary_crossentropy")
        return Program(model, [token_data(seed)])

    program.__name__ = kind.lower()
    return program


def open_gate(seed: int) -> Program:
    """A sigmoid gate with a bias that holds it open at the start, as in highway networks."""
    inputs = keras.Input((6,))
    x = layers.Dense(32, activation="relu")(inputs)
    opened = keras.initializers.Constant(5.0)
    gate = layers.Dense(32, activation="sigmoid", bias_initializer=opened)(x)
    outputs = layers.Dense(1)(layers.Multiply()([x, gate]))
    return Program(compile_model(keras.Model(inputs, outputs), "mse"), [regression_data(seed)])


def layer_norm(seed: int) -> Program:
    parts = [
        layers.Dense(32), layers.LayerNormalization(), layers.ReLU(),
        layers.Dense(32), layers.LayerNormalization(), layers.ReLU(), layers.Dense(1),
    ]  # fmt: skip
    return Program(
        compile_model(build_chain("subclassed", (6,), parts), "mse"), [regression_data(seed)]
    )


def deep_residual(seed: int) -> Program:
    inputs = keras.Input((6,))
    x = layers.Dense(32)(inputs)
    for _ in range(12):
        y = layers.Dense(32, activation="relu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(32, kernel_initializer="zeros")(y)])
    model = keras.Model(inputs, layers.Dense(1)(layers.LayerNormalization()(x)))
    return Program(compile_model(model, "mse", rate=3e-3), [regression_data(seed)])


def deep_relu(seed: int) -> Program:
    parts = [layers.Dense(64, activation="relu") for _ in range(12)]
    model = compile_model(
        build_chain("sequential", (6,), [*parts, layers.Dense(1)]), "mse", rate=1e-3
    )
    return Program(model, [regression_data(seed)])


def selu(seed: int) -> Program:
    parts = [
        layers.Dense(32, activation="selu", kernel_initializer="lecun_normal") for _ in range(8)
    ]
    model = compile_model(
        build_chain("functional", (6,), [*parts, layers.Dense(1)]), "mse", rate=3e-3
    )
    return Program(model, [regression_data(seed)])


def deep_tanh(seed: int) -> Program:
    parts = [layers.Dense(32, activation="tanh") for _ in range(8)]
    model = compile_model(build_chain("nested", (6,), [*parts, layers.Dense(1)]), "mse", rate=3e-3)
    return Program(model, [regression_data(seed)])


PROGRAMS = (
    _batchnorm(8), _batchnorm(16), _batchnorm(32), batchnorm_two_pictures,
    frozen_batchnorm_one_item, _half("mixed_bfloat16"), _half("mixed_float16"), tanh_rnn,
    _gated("LSTM"), _gated("GRU"), open_gate, layer_norm, deep_residual, deep_relu, selu, deep_tanh,
)  # fmt: skip
