"""Models of one layer, linear because they are meant to be; heads of every proper kind."""

from typing import Any

from saldiag.selftest.program import (
    Program,
    binary_data,
    build_chain,
    class_data,
    compile_model,
    keras,
    layers,
    np,
)


def _linear_numbers(seed: int) -> tuple[Any, Any]:
    x, _ = binary_data(seed, count=32, width=8)
    weights = np.random.default_rng(seed).normal(size=(8, 1))
    return x, (x @ weights).astype("float32")


def linear_regression(seed: int) -> Program:
    model = build_chain("sequential", (8,), [layers.Dense(1)])
    return Program(compile_model(model, "mse", rate=5e-2), [_linear_numbers(seed)])


def flat_targets(seed: int) -> Program:
    """Targets (n,) for outputs (n, 1), which Keras' losses bring together."""
    x, y = _linear_numbers(seed)
    model = build_chain("functional", (8,), [layers.Dense(32, activation="relu"), layers.Dense(1)])
    return Program(compile_model(model, "mse"), [(x, y[:, 0])])


def logistic_regression(seed: int) -> Program:
    x, y = _linear_numbers(seed)
    model = build_chain("subclassed", (8,), [layers.Dense(1, activation="sigmoid")])
    model = compile_model(model, "binary_crossentropy", rate=5e-2)
    return Program(model, [(x, (y > 0).astype("float32"))])


def _classifier(seed: int, head: Any, loss: Any, labels: Any) -> Program:
    model = build_chain("sequential", (8,), [layers.Dense(32, activation="relu"), *head])
    return Program(compile_model(model, loss), [(class_data(seed)[0], labels)])


def _one_hot(seed: int) -> Any:
    return keras.utils.to_categorical(class_data(seed)[1], 3)


def two_units_with_softmax(seed: int) -> Program:
    x, kinds = class_data(seed, kinds=2)
    head = layers.Dense(2, activation="softmax")
    model = build_chain("nested", (8,), [layers.Dense(32, activation="relu"), head])
    return Program(compile_model(model, "sparse_categorical_crossentropy"), [(x, kinds)])


def label_smoothing(seed: int) -> Program:
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    return _classifier(seed, [layers.Dense(3, activation="softmax")], loss, _one_hot(seed))


def logits_with_dropout(seed: int) -> Program:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head = [layers.Dropout(0.3), layers.Dense(3)]
    return _classifier(seed, head, loss, class_data(seed)[1])


def column_of_labels(seed: int) -> Program:
    labels = class_data(seed)[1][:, None]
    head = [layers.Dense(3, activation="softmax")]
    return _classifier(seed, head, "sparse_categorical_crossentropy", labels)


def sigmoid_under_categorical(seed: int) -> Program:
    """Keras 3 takes the logits: it trains as softmax does."""
    head = [layers.Dense(3, activation="sigmoid")]
    return _classifier(seed, head, "categorical_crossentropy", _one_hot(seed))


def several_labels(seed: int) -> Program:
    x, _ = binary_data(seed)
    head = layers.Dense(3, activation="sigmoid")
    model = build_chain("functional", (8,), [layers.Dense(32, activation="relu"), head])
    labels = (x[:, :3] > 0.3).astype("float32")
    return Program(compile_model(model, "binary_crossentropy"), [(x, labels)])


PROGRAMS = (
    linear_regression, flat_targets, logistic_regression, two_units_with_softmax, label_smoothing,
    logits_with_dropout, column_of_labels, sigmoid_under_categorical, several_labels,
)  # fmt: skip
