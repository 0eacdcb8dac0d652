"""The old names ``acc``, ``val_acc`` and ``lr`` in histories, logs and monitors of callbacks."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from saldiag.core.keras_types import KerasModel
from saldiag.keras_internals.compilation import compiled_metrics, metrics_argument
from saldiag.subject.compat.entries import OnUse

_ACC = re.compile(r"(^|_)acc$")


def current_name(key: Any) -> Any:
    """The current name of a log entry: ``val_accuracy`` for ``val_acc``."""
    if key == "lr":
        return "learning_rate"
    return _ACC.sub(r"\1accuracy", key) if isinstance(key, str) else key


class Logs(dict[Any, Any]):
    """Logs that can also be read by old names; iteration and pickling show the current ones."""

    def __init__(self, logs: Any, on_use: OnUse) -> None:
        super().__init__(logs)
        self._on_use = on_use

    def _existing_key(self, key: Any) -> Any:
        """The key under which the value is stored: ``key`` or its current name."""
        name = key if super().__contains__(key) else current_name(key)
        if name != key and super().__contains__(name):
            self._on_use()
            return name
        return key

    def __missing__(self, key: Any) -> Any:
        name = self._existing_key(key)
        if name == key:
            raise KeyError(key)
        return self[name]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(self._existing_key(key))

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key or of its current name."""
        return super().get(self._existing_key(key), default)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def __deepcopy__(self, _memo: Any) -> dict[Any, Any]:
        return dict(self)


def wrap_pythonify_logs(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """``pythonify_logs`` returns logs that can be read by old names."""

    @functools.wraps(original)
    def pythonify_logs(logs: Any) -> Any:
        converted = original(logs)
        return Logs(converted, on_use) if isinstance(converted, dict) else converted

    return pythonify_logs


def wrap_history_begin(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """``History.on_train_begin`` makes ``history.history`` readable by old names."""

    @functools.wraps(original)
    def on_train_begin(callback: Any, logs: Any = None) -> Any:
        result = original(callback, logs)
        callback.history = Logs(callback.history, on_use)
        return result

    return on_train_begin


def wrap_fit(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """``fit`` turns ``monitor="val_acc"`` of callbacks to ``val_accuracy`` if that is logged."""

    @functools.wraps(original)
    def fit(model: KerasModel, *args: Any, **kwargs: Any) -> Any:
        callbacks = kwargs.get("callbacks")
        for callback in callbacks if isinstance(callbacks, (list, tuple)) else ():
            monitor = getattr(callback, "monitor", None)
            if monitor != "lr" and current_name(monitor) != monitor and _logs_accuracy(model):
                callback.monitor = current_name(monitor)
                on_use()
        return original(model, *args, **kwargs)

    return fit


def _logs_accuracy(model: KerasModel) -> bool:
    """Whether the model was compiled with the metric ``accuracy``, not with ``acc``."""
    import keras

    metrics = keras.tree.flatten(metrics_argument(compiled_metrics(model)))
    return "accuracy" in metrics and "acc" not in metrics


def wrap_checkpoint_path(original: Callable[..., Any], on_use: OnUse) -> Callable[..., Any]:
    """``ModelCheckpoint`` formats ``{val_acc:.2f}`` in its file name."""

    @functools.wraps(original)
    def get_file_path(callback: Any, epoch: Any, batch: Any, logs: Any) -> Any:
        logs = dict(logs or {})
        for key in re.findall(r"{(\w+)", str(callback.filepath)):
            if key not in logs and current_name(key) in logs:
                logs[key] = logs[current_name(key)]
                on_use()
        return original(callback, epoch, batch, logs)

    return get_file_path
