"""A SavedModel folder as a Keras model of one layer, whose weights are those that it uses.

``keras.layers.TFSMLayer`` does not do: its variables are copies, which a training step changes
while the restored function goes on with the originals (Keras 3.14).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.errors import ModelError
from saldiag.core.wording import printable
from saldiag.keras_internals.layers import track_variable
from saldiag.keras_internals.variables import replace_raw_variable

SIGNATURE = "serving_default"
"""What Keras' ``export`` and TensorFlow's own tools call the function of a model."""


class ExportedFunction(keras.layers.Layer):
    """One restored function; what it computes inside is no layer that Keras knows of."""

    def __init__(self, restored: Any, function: Any, **options: Any) -> None:
        super().__init__(**options)
        self._restored, self._function = restored, function  # the first keeps variables alive
        for index, variable in enumerate(function.variables):
            track_variable(self, _same(variable, index))
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The function's one output, or a dictionary of several."""
        given = inputs if isinstance(inputs, dict) else {self._names[0]: inputs}
        outputs = self._function(**given)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(self._function.structured_input_signature[1])

    def compute_output_shape(self, _: Any) -> Any:
        """As the function declares it."""
        shapes = {name: tuple(t.shape) for name, t in self._function.structured_outputs.items()}
        return next(iter(shapes.values())) if len(shapes) == 1 else shapes


def _same(variable: Any, index: int) -> Any:
    """A Keras variable around that very ``tf.Variable``."""
    wrapped = keras.Variable(
        tf.zeros(variable.shape, variable.dtype),
        trainable=variable.trainable,
        dtype=variable.dtype.name,
        name=variable.name.partition(":")[0].replace("/", "_") or f"variable_{index}",
    )
    replace_raw_variable(wrapped, variable)
    return wrapped


def load_exported(path: Path, *, unsafe: bool, option: str = "--model") -> Any:
    """The model, which is not compiled: a SavedModel tells neither loss nor optimizer.

    Raises:
        ModelError: it is not to be trusted, cannot be loaded, or has no such function.
    """
    where = f"{option} {printable(path)}"
    if not unsafe:
        raise ModelError(
            f"{where}: a SavedModel is a program of its own, which may read and write files:"
            " --unsafe-load runs it, if you trust it"
        )
    try:
        restored = tf.saved_model.load(str(path))
    except Exception as error:
        told = printable(" ".join(str(error).split())[:300])
        raise ModelError(f"{where}: cannot be loaded ({type(error).__name__}: {told})") from error
    function = restored.signatures.get(SIGNATURE)
    if function is None:
        there = ", ".join(map(str, restored.signatures)) or "none at all"
        raise ModelError(f"{where}: has no function {SIGNATURE} (there are {printable(there)})")
    specs = function.structured_input_signature[1]
    if any(spec.shape.rank in (None, 0) for spec in specs.values()):
        raise ModelError(f"{where}: {SIGNATURE} does not tell the shape of what it takes")
    inputs = {
        name: keras.Input(spec.shape[1:], dtype=spec.dtype.name, name=name)
        for name, spec in specs.items()
    }
    given = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    layer = ExportedFunction(restored, function, name="exported")
    return keras.Model(given, layer(given), name="exported_model")
