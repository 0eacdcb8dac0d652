"""Small networks under the optimizers, schedules and clippings in use."""

from typing import Any

import keras

from saldiag.selftest.program import (
    Program,
    binary_data,
    build_chain,
    class_data,
    compile_model,
    layers,
    regression_data,
)


def _binary(seed: int, optimizer: Any, form: str = "sequential") -> Program:
    parts = [layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    model = compile_model(
        build_chain(form, (8,), parts), "binary_crossentropy", optimizer=optimizer
    )
    return Program(model, [binary_data(seed)])


def _regression(seed: int, optimizer: Any, form: str = "functional") -> Program:
    parts = [layers.Dense(64, activation="tanh"), layers.Dense(1)]
    model = compile_model(build_chain(form, (6,), parts), "mse", optimizer=optimizer)
    return Program(model, [regression_data(seed)])


def sgd_momentum(seed: int) -> Program:
    return _binary(seed, keras.optimizers.SGD(0.1, momentum=0.9))


def sgd_plain(seed: int) -> Program:
    return _regression(seed, keras.optimizers.SGD(0.05))


def rmsprop(seed: int) -> Program:
    return _binary(seed, keras.optimizers.RMSprop(0.003), "subclassed")


def adamw(seed: int) -> Program:
    return _regression(seed, keras.optimizers.AdamW(0.01, weight_decay=0.01))


def small_rate(seed: int) -> Program:
    return _binary(seed, keras.optimizers.Adam(1e-4), "nested")


def fine_tuning_rate(seed: int) -> Program:
    return _regression(seed, keras.optimizers.Adam(1e-5))


def warm_up(seed: int) -> Program:
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=400, warmup_target=0.01, warmup_steps=40
    )
    return _binary(seed, keras.optimizers.Adam(schedule))


def long_warm_up(seed: int) -> Program:
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=200_000, warmup_target=1e-3, warmup_steps=10_000
    )
    return _binary(seed, keras.optimizers.Adam(schedule))


def cosine(seed: int) -> Program:
    schedule = keras.optimizers.schedules.CosineDecay(0.02, decay_steps=150)
    return _regression(seed, keras.optimizers.Adam(schedule), "nested")


def rarely_clipped(seed: int) -> Program:
    return _binary(seed, keras.optimizers.SGD(0.2, momentum=0.9, global_clipnorm=1.0))


def often_clipped_adam(seed: int) -> Program:
    return _regression(seed, keras.optimizers.Adam(0.01, global_clipnorm=0.01))


def clipped_values(seed: int) -> Program:
    return _regression(seed, keras.optimizers.SGD(0.1, momentum=0.9, clipvalue=0.5))


def large_rate_classes(seed: int) -> Program:
    parts = [layers.Dense(64, activation="relu"), layers.Dense(3, activation="softmax")]
    model = build_chain("functional", (8,), parts)
    compile_model(model, "sparse_categorical_crossentropy", rate=0.05)
    return Program(model, [class_data(seed)])


PROGRAMS = (
    sgd_momentum, sgd_plain, rmsprop, adamw, small_rate, fine_tuning_rate, warm_up, long_warm_up,
    cosine, rarely_clipped, often_clipped_adam, clipped_values, large_rate_classes,
)  # fmt: skip
