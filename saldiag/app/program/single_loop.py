"""Listens to one training loop in a program that goes its own way otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saldiag.app.program.observer import Observer
from saldiag.app.program.options import WatchOptions
from saldiag.app.program.watched_model import Watched
from saldiag.app.session.collector import Collector
from saldiag.core.measurement import Source
from saldiag.subject.source.layer_sources import LayerSources


class LoopObserver(Observer):
    """Watches one model; all others, and other optimizers than that asked for, pass through.

    Args:
        model: the model.
        optimizer: the one that trains it; None for whichever does.
        options: how to watch.
        collector: takes what is measured.
    """

    def __init__(
        self, model: Any, optimizer: Any, options: WatchOptions, collector: Collector
    ) -> None:
        super().__init__(options, LayerSources(collector.files), lambda _: collector)
        self._model, self._optimizer = model, optimizer

    def models(self) -> list[Any]:
        """The one model."""
        return [self._model]

    def begin(
        self, model: Any, trained: Source | None, compiled: Source | None = None
    ) -> Watched | None:
        """The one subject; None for any other model."""
        return super().begin(model, trained, compiled) if model is self._model else None

    def on_compile(self, model: Any, call: Callable[[], Any]) -> Any:  # noqa: ARG002 - a listener's
        """A model that is compiled in the middle of its loop stays the same subject."""
        with self.deaf():
            return call()

    def on_apply(self, optimizer: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A step of the loop, if it is one of the optimizer that was named."""
        if self._optimizer in (None, optimizer):
            return super().on_apply(optimizer, original, args, kwargs)
        with self.deaf():
            return original(optimizer, *args, **kwargs)

    def on_call(self, layer: Any, call: Callable[[], Any], inputs: Any) -> Any:
        """The loop calls its model."""
        return super().on_call(layer, call, inputs) if layer is self._model else call()
