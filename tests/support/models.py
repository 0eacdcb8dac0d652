"""Small Keras models that many tests build.

Builders that make layers themselves seed Keras first. Layers that a test passes in draw their
initial weights from the seed of that test (see ``conftest.py``). Keras is imported by the builders
and not with this module, which tests without TensorFlow may import too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SEED = 0


def sequential(
    shape: tuple[int | None, ...], *layers: Any, name: str | None = None, dtype: str | None = None
) -> Any:
    """A built sequential model; ``shape`` and ``dtype`` are those of its input."""
    import keras

    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers], name=name)


def functional(
    shape: tuple[int | None, ...],
    outputs: Callable[[Any], Any],
    *,
    name: str | None = None,
    dtype: str | None = None,
    base: Any = None,
) -> Any:
    """A functional model with one input: ``outputs`` makes the output tensors from it.

    ``base`` is the class of the model, a subclass of ``keras.Model`` with its own training step
    or loss.
    """
    import keras

    inputs = keras.Input(shape, dtype=dtype)
    return (base or keras.Model)(inputs, outputs(inputs), name=name)


def subclassed(*layers: Any, shape: tuple[int, ...] | None = None, name: str | None = None) -> Any:
    """A subclassed model that calls ``layers`` in order; built for ``shape`` if it is given."""
    import numpy as np

    from saldiag.selftest.program import Chain

    model = Chain(layers, name=name)
    if shape is not None:
        model(np.zeros((1, *shape), "float32"))
    return model


def in_form(form: str, shape: tuple[int, ...], *layers: Any) -> Any:
    """A built model of ``layers`` in order, in one of the four forms of ``selftest.program``."""
    from saldiag.selftest.program import build_chain

    if form == "subclassed":
        return subclassed(*layers, shape=shape)
    return build_chain(form, shape, layers)


def dense(
    inputs: int = 4,
    units: int = 1,
    activation: Any = None,
    *,
    name: str | None = None,
    dtype: str | None = None,
) -> Any:
    """A sequential model of one Dense layer, ``name`` and ``dtype`` being the layer's."""
    import keras

    keras.utils.set_random_seed(SEED)
    layer = keras.layers.Dense(units, activation, name=name, dtype=dtype)
    return sequential((inputs,), layer)


def mlp(
    inputs: int = 4,
    hidden: int = 8,
    units: int = 1,
    activation: Any = None,
    *,
    dropout: float = 0.5,
    seed: int = SEED,
) -> Any:
    """Dense, BatchNormalization, ReLU, Dropout, Dense: layers with state of every kind."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return sequential(
        (inputs,),
        layers.Dense(hidden),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(dropout),
        layers.Dense(units, activation),
    )


def normalized(
    form: str, last: str = "sigmoid", *, compiled: bool = True, name: str = "head"
) -> Any:
    """A binary classifier with BatchNormalization and Dropout, whose states a training changes.

    Args:
        form: "sequential", "functional", "subclassed", "nested", or "train_step" for a functional
            model whose class overrides ``train_step``.
        last: activation of the output layer.
        compiled: whether it is compiled, with Adam.
        name: of the output layer.
    """
    import keras

    keras.utils.set_random_seed(SEED)
    layers = keras.layers
    body = sequential((6,), layers.Dense(16, "relu"), layers.BatchNormalization(), name="body")
    drop, head = layers.Dropout(0.1), layers.Dense(1, activation=last, name=name)
    if form == "subclassed":
        model = subclassed(body, drop, head, shape=(6,))
    elif form in ("sequential", "functional"):
        model = in_form(form, (6,), *body.layers, drop, head)
    else:
        base = _with_own_train_step() if form == "train_step" else None
        model = functional((6,), lambda x: head(drop(body(x))), base=base)
    if compiled:
        # Under a cross-entropy Keras takes the logits behind a softmax, and the model learns.
        loss = "mse" if last == "softmax" else "binary_crossentropy"
        model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    return model


def _with_own_train_step() -> Any:
    import keras
    import tensorflow as tf

    class OwnStep(keras.Model):  # type: ignore[misc, name-defined]
        def train_step(self, batch: Any) -> dict[str, Any]:
            x, y = batch
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            weights = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    return OwnStep


def sign_data(count: int, width: int = 6) -> tuple[Any, Any]:
    """Inputs (count, width), standard normal, and whether the first of them is positive."""
    import numpy as np

    x = np.random.default_rng(0).normal(size=(count, width)).astype("float32")
    return x, (x[:, :1] > 0).astype("float32")


def variable_bytes(variables: Any) -> list[bytes]:
    """The values of variables, to compare them bit for bit."""
    import numpy as np

    return [np.asarray(variable).tobytes() for variable in variables]


def compiled(model: Any, optimizer: Any = "sgd", loss: Any = "mse", **options: Any) -> Any:
    """Compile ``model``, without XLA unless ``jit_compile`` says otherwise, and return it."""
    options.setdefault("jit_compile", False)
    model.compile(optimizer, loss, **options)
    return model
