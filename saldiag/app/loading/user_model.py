"""The user's model: from code or a file, with its source lines, compiled, with its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras

from saldiag.app.loading.compile import compile_for_diagnosis
from saldiag.app.loading.registered_model import set_dtype_policy
from saldiag.app.loading.subject import Subject
from saldiag.app.session.collector import Collector
from saldiag.app.session.request import ModelRequest
from saldiag.core.errors import ModelError, WeightsError
from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.measurement import Source
from saldiag.core.wording import printable
from saldiag.keras_internals.names import KERAS_2_IN_TENSORFLOW
from saldiag.subject.models.input_spec import InputSpec, check_input_shapes, input_spec_of
from saldiag.subject.models.keras_files import load_keras_file, load_weights
from saldiag.subject.models.saved_model import load_saved_model
from saldiag.subject.models.spec import CodeReference, DataSpec, is_saved_model
from saldiag.subject.models.user_code import evaluate_reference, load_custom_objects
from saldiag.subject.source.layer_sources import recording_sources

Read = TypeVar("Read")


@dataclass(frozen=True)
class UserModel:
    """The user's model, compiled."""

    model: Any
    """The compiled Keras model."""
    sources: dict[int, Source]
    """The line that made each layer, by ``id(layer)``; empty for a saved model."""
    input_spec: InputSpec
    """What the model takes."""


def load_with_data(
    request: ModelRequest,
    data: DataSpec,
    collector: Collector,
    read: Callable[[InputSpec], tuple[Read, Any, tuple[str, ...]]],
) -> tuple[Subject, Read]:
    """Load the user's model, then the data in the shape of its inputs.

    Args:
        request: which model, and how to compile it.
        data: spec of the data that ``read`` reads, for messages.
        collector: records the phases, and the user's files.
        read: returns the data, the inputs of one batch, and lines to print for the user.

    Raises:
        SaldiagError: model or data cannot be loaded, or they do not fit each other.
    """
    with collector.phase("building the model"):
        set_dtype_policy(request)
        user = load_user_model(request, collector.files)
    with collector.phase("reading data"):
        found, x, notes = read(user.input_spec)
        check_input_shapes(
            user.input_spec, x, f"--model {printable(request.spec.text)}", data.option
        )
        load_user_weights(request, user.model, x)
    return Subject(user.model, user.sources, notes=notes, name=request.spec.text), found


def load_user_model(request: ModelRequest, files: FilesSeen) -> UserModel:
    """Build or load the model and compile it.

    Args:
        request: which model, and how to compile it.
        files: gets the user's files that the source lines are in.

    Raises:
        ModelError: it cannot be loaded, is not a Keras 3 model, or has no loss.
        SaldiagError: there is no such loss or optimizer.
    """
    spec = request.spec
    if spec.code is not None:
        with recording_sources(files) as lines:
            model = evaluate_reference(spec.code, ModelError)
        sources, where = lines.by_id(), str(spec.code)
        _refuse_other_models(model, spec.code)
    else:
        assert spec.path is not None
        model = _from_file(request, spec.path)
        sources, where = {}, f"--model {printable(spec.path)}"
    compile_for_diagnosis(
        model,
        loss=request.loss,
        optimizer=request.optimizer,
        learning_rate=request.learning_rate,
        where=where,
    )
    return UserModel(model, sources, input_spec_of(model))


def _from_file(request: ModelRequest, path: Path) -> Any:
    if is_saved_model(path):
        return load_saved_model(path, unsafe=request.unsafe_load)
    objects = load_custom_objects(request.custom_objects, ModelError)
    return load_keras_file(path, objects, unsafe=request.unsafe_load, compiled=request.loss is None)


def _refuse_other_models(model: Any, code: CodeReference) -> None:
    if isinstance(model, keras.Model):
        return
    kind = f"{type(model).__module__}.{type(model).__qualname__}".removeprefix("builtins.")
    older = " (Keras 2)" if kind.startswith(("tf_keras.", f"{KERAS_2_IN_TENSORFLOW}.")) else ""
    raise ModelError(f"{code}: a Keras 3 model was expected, this is {printable(kind)}{older}")


def load_user_weights(request: ModelRequest, model: Any, x: Any) -> None:
    """Load ``--weights`` into the user's model, building it on the inputs ``x`` if needed.

    Raises:
        WeightsError: ``--weights`` names an encoder's weights, or the file cannot be read or
            belongs to another model.
    """
    if request.weights == "auto":
        return
    if request.weights in ("imagenet", "random"):
        raise WeightsError(
            f"--weights {request.weights} is for registered models such as quicksal: give a file"
            " for your own model"
        )
    load_weights(model, Path(request.weights), lambda: model(x))
