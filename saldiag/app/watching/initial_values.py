"""The values that a model had before its first step, for what is examined after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from saldiag.core.keras_types import KerasModel
from saldiag.keras_internals.distribution import local_copies
from saldiag.keras_internals.variables import raw_variable
from saldiag_probes.state.isolation import preserved_state


class InitialValues:
    """A copy of a model's variables; memory is used only for what the training changes.

    Args:
        model: a built model, outside of any graph that is being traced.
    """

    def __init__(self, model: KerasModel) -> None:
        self._model = model
        raw = [copy for v in model.variables for copy in local_copies(raw_variable(v))]
        self._values = [(variable, variable.read_value()) for variable in raw]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Give the model its first values inside the block, and its own afterwards.

        A ``fit`` may be running; another one inside the block does not disturb it.
        """
        with preserved_model(self._model):
            for variable, value in self._values:
                variable.assign(value)
            self._model.train_function = self._model.test_function = None
            yield


@contextmanager
def preserved_model(model: KerasModel) -> Iterator[None]:
    """Restore a model's state at the end of the block, and the attributes that ``fit`` assigns."""
    attributes = dict(vars(model))
    try:
        with preserved_state(model):
            yield
    finally:
        restore_attributes(model, attributes)


def restore_attributes(model: KerasModel, attributes: dict[str, object]) -> None:
    """Give a model exactly the attributes that ``vars`` had returned."""
    now = vars(model)
    for name in [name for name in now if name not in attributes]:
        del now[name]
    now.update(attributes)
