"""A model of the user's: from code or a file, with its source lines, compiled, with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from saldiag.app.session.options import Options
from saldiag.app.subject.compile import settle
from saldiag.core.errors import ModelError, WeightsError
from saldiag.core.measurement import Source
from saldiag.core.printable import printable
from saldiag.subject.models.input_spec import Takes, takes
from saldiag.subject.models.keras_files import load_saved, load_weights
from saldiag.subject.models.saved_model import load_exported
from saldiag.subject.models.spec import CodeName, ModelName, is_exported
from saldiag.subject.models.user_code import collected, made_by
from saldiag.subject.source.layer_sources import recording_sources


@dataclass(frozen=True)
class Own:
    """A compiled model, where its layers were made by ``id(layer)``, and what it takes."""

    model: Any
    sources: dict[int, Source]
    takes: Takes


def load_own(options: Options, name: ModelName) -> Own:
    """Make or load the model and compile it.

    Raises:
        ModelError: it cannot be had, is no Keras 3 model, or has no loss.
        SaldiagError: there is no such loss or optimizer.
    """
    if name.code is not None:
        with recording_sources() as lines:
            model = made_by(name.code, ModelError)
        sources, where = lines.by_id(), str(name.code)
        _refuse_strangers(model, name.code)
    else:
        assert name.path is not None
        model = _from_file(options, name.path)
        sources, where = {}, f"--model {printable(name.path)}"
    settle(
        model, loss=options.loss, optimizer=options.optimizer,
        learning_rate=options.learning_rate, where=where,
    )  # fmt: skip
    return Own(model, sources, takes(model))


def _from_file(options: Options, path: Path) -> Any:
    if is_exported(path):
        return load_exported(path, unsafe=options.unsafe_load)
    objects = collected(options.custom_objects, ModelError)
    return load_saved(path, objects, unsafe=options.unsafe_load, compiled=options.loss is None)


def _refuse_strangers(model: Any, code: CodeName) -> None:
    if isinstance(model, keras.Model):
        return
    kind = f"{type(model).__module__}.{type(model).__qualname__}".removeprefix("builtins.")
    older = " (Keras 2)" if kind.startswith(("tf_keras.", "tensorflow.python.keras.")) else ""
    raise ModelError(f"{code}: a Keras 3 model was expected, this is {printable(kind)}{older}")


def take_weights(options: Options, model: Any, x: Any) -> None:
    """Load ``--weights`` into a model of the user's, which ``x``, a batch, builds if need be.

    Raises:
        WeightsError: they are a built-in model's, or cannot be read, or belong to another model.
    """
    if options.weights == "auto":
        return
    if options.weights in ("imagenet", "random"):
        raise WeightsError(
            f"--weights {options.weights} is for the built-in models: one of your own takes a file"
        )
    load_weights(model, Path(options.weights), lambda: model(x))
