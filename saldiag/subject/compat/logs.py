"""``acc``, ``val_acc`` and ``lr`` in histories, logs and the monitors of callbacks."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from saldiag.keras_internals.compilation import compiled_metrics, metrics_argument
from saldiag.subject.compat.entries import OnUse

_ACC = re.compile(r"(^|_)acc$")


def current_name(key: Any) -> Any:
    """What a log is called today: ``val_acc`` is ``val_accuracy``."""
    if key == "lr":
        return "learning_rate"
    return _ACC.sub(r"\1accuracy", key) if isinstance(key, str) else key


class Logs(dict[Any, Any]):
    """Logs that answer to their older names as well; it lists, and is saved, as it is."""

    def __init__(self, logs: Any, tell: OnUse) -> None:
        super().__init__(logs)
        self._tell = tell

    def _known(self, key: Any) -> Any:
        """The key that is there."""
        name = key if super().__contains__(key) else current_name(key)
        if name != key and super().__contains__(name):
            self._tell()
            return name
        return key

    def __missing__(self, key: Any) -> Any:
        name = self._known(key)
        if name == key:
            raise KeyError(key)
        return self[name]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(self._known(key))

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key or of its name of today."""
        return super().get(self._known(key), default)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def __deepcopy__(self, _memo: Any) -> dict[Any, Any]:
        return dict(self)


def wrap_pythonify_logs(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """A function that returns logs."""

    @functools.wraps(original)
    def make(logs: Any) -> Any:
        made = original(logs)
        return Logs(made, tell) if isinstance(made, dict) else made

    return make


def wrap_history_begin(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """``History.on_train_begin``: its dictionary answers to older names."""

    @functools.wraps(original)
    def begin(callback: Any, logs: Any = None) -> Any:
        result = original(callback, logs)
        callback.history = Logs(callback.history, tell)
        return result

    return begin


def wrap_fit(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """``fit``: callbacks that wait for ``val_acc`` wait for ``val_accuracy`` if that will come."""

    @functools.wraps(original)
    def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
        callbacks = kwargs.get("callbacks")
        for callback in callbacks if isinstance(callbacks, (list, tuple)) else ():
            monitor = getattr(callback, "monitor", None)
            if monitor != "lr" and current_name(monitor) != monitor and _counts_accuracy(model):
                callback.monitor = current_name(monitor)
                tell()
        return original(model, *args, **kwargs)

    return fit


def _counts_accuracy(model: Any) -> bool:
    """Whether the model was compiled with ``accuracy``, not with ``acc``."""
    import keras

    asked = keras.tree.flatten(metrics_argument(compiled_metrics(model)))
    return "accuracy" in asked and "acc" not in asked


def wrap_checkpoint_path(original: Callable[..., Any], tell: OnUse) -> Callable[..., Any]:
    """``ModelCheckpoint``: ``{val_acc:.2f}`` in the name of the file."""

    @functools.wraps(original)
    def make(callback: Any, epoch: Any, batch: Any, logs: Any) -> Any:
        logs = dict(logs or {})
        for key in re.findall(r"{(\w+)", str(callback.filepath)):
            if key not in logs and current_name(key) in logs:
                logs[key] = logs[current_name(key)]
                tell()
        return original(callback, epoch, batch, logs)

    return make
