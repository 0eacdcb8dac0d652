"""A ``tf.data`` pipeline over sorted pictures that does not shuffle, or hardly."""

import tensorflow as tf

from saldiag.selftest.program import FORMS, FitPlan, Program, build_chain, compile_model, layers, np

EXPECT = "SD609"


def _program(form: str, seed: int, buffer: int) -> Program:
    random = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(3), 40)
    x = random.uniform(-1, 0, size=(120, 12, 12, 3)).astype("float32")
    for index, kind in enumerate(kinds):
        row, column = random.integers(0, 5, 2)
        x[index, row : row + 6, column : column + 6, kind] += 1
    dataset = tf.data.Dataset.from_tensor_slices((x, kinds)).shuffle(buffer, seed=seed).batch(8)
    parts = [
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(
        build_chain(form, (12, 12, 3), parts), "sparse_categorical_crossentropy", rate=3e-2
    )
    plan = FitPlan(data=dataset, epochs=5)
    mixed = random.permutation(120)[:48]
    return Program(model, [(x[mixed], kinds[mixed])], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 4 if form == "nested" else 1)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 120)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
