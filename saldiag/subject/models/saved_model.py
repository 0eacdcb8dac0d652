"""A SavedModel folder as a Keras model of one layer that owns the function's variables.

``keras.layers.TFSMLayer`` cannot be trained: its weights are copies, which a training step changes
while the restored function keeps using the originals (Keras 3.14).
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
"""Name that Keras' ``export`` and TensorFlow's own tools give to a model's function."""


class ExportedFunction(keras.layers.Layer):
    """One restored function; Keras sees no layers inside it."""

    def __init__(self, restored: Any, function: Any, **options: Any) -> None:
        super().__init__(**options)
        self._restored, self._function = (
            restored,
            function,
        )  # ``restored`` keeps the variables alive
        for index, variable in enumerate(function.variables):
            track_variable(self, _keras_variable(variable, index))
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The function's only output, or a dictionary of its outputs by name."""
        by_name = inputs if isinstance(inputs, dict) else {self._input_names[0]: inputs}
        outputs = self._function(**by_name)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    @property
    def _input_names(self) -> tuple[str, ...]:
        return tuple(self._function.structured_input_signature[1])

    def compute_output_shape(self, _: Any) -> Any:
        """The shape that the function declares; a dictionary for several outputs."""
        shapes = {name: tuple(t.shape) for name, t in self._function.structured_outputs.items()}
        return next(iter(shapes.values())) if len(shapes) == 1 else shapes


def _keras_variable(variable: Any, index: int) -> Any:
    """A Keras variable that wraps ``variable`` itself, not a copy of it."""
    wrapped = keras.Variable(
        tf.zeros(variable.shape, variable.dtype),
        trainable=variable.trainable,
        dtype=variable.dtype.name,
        name=variable.name.partition(":")[0].replace("/", "_") or f"variable_{index}",
    )
    replace_raw_variable(wrapped, variable)
    return wrapped


def load_saved_model(path: Path, *, unsafe: bool, option: str = "--model") -> Any:
    """Load a SavedModel folder as an uncompiled Keras model; it stores no loss and no optimizer.

    Args:
        path: the folder.
        unsafe: whether the code in it may run.
        option: the command-line option that names the path, for messages.

    Raises:
        ModelError: ``unsafe`` is not set, the folder cannot be loaded, or it has no function
            ``serving_default`` with inputs of known rank.
    """
    where = f"{option} {printable(path)}"
    if not unsafe:
        raise ModelError(
            f"{where}: a SavedModel is a program that may read and write files: pass --unsafe-load"
            " if you trust it"
        )
    try:
        restored = tf.saved_model.load(str(path))
    except Exception as error:
        reason = printable(" ".join(str(error).split())[:300])
        raise ModelError(f"{where}: cannot be loaded ({type(error).__name__}: {reason})") from error
    function = restored.signatures.get(SIGNATURE)
    if function is None:
        available = ", ".join(map(str, restored.signatures)) or "none"
        raise ModelError(f"{where}: has no function {SIGNATURE} (it has {printable(available)})")
    specs = function.structured_input_signature[1]
    if any(spec.shape.rank in (None, 0) for spec in specs.values()):
        raise ModelError(f"{where}: {SIGNATURE} doesn't declare the shapes of its inputs")
    inputs = {
        name: keras.Input(spec.shape[1:], dtype=spec.dtype.name, name=name)
        for name, spec in specs.items()
    }
    arguments = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    layer = ExportedFunction(restored, function, name="exported")
    return keras.Model(arguments, layer(arguments), name="exported_model")
