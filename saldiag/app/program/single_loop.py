"""Observes the training of one model inside a block (``saldiag.watch``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saldiag.app.program.observer import Observer
from saldiag.app.program.options import WatchOptions
from saldiag.app.program.watched_model import WatchedModel
from saldiag.app.session.collector import Collector
from saldiag.core.keras_types import KerasLayer, KerasModel, KerasOptimizer
from saldiag.core.measurement import Source
from saldiag.subject.source.layer_sources import LayerSources


class LoopObserver(Observer):
    """Watches one model; other models, and other optimizers if one is given, are not watched.

    Args:
        model: the model.
        optimizer: the optimizer whose steps to watch; None for any that trains the model.
        options: how to watch.
        collector: takes the measurements.
    """

    def __init__(
        self,
        model: KerasModel,
        optimizer: KerasOptimizer,
        options: WatchOptions,
        collector: Collector,
    ) -> None:
        super().__init__(options, LayerSources(collector.files), lambda _: collector)
        self._model, self._optimizer = model, optimizer

    def living_models(self) -> list[Any]:
        """The one model."""
        return [self._model]

    def start_watching(
        self, model: KerasModel, trained: Source | None, compiled: Source | None = None
    ) -> WatchedModel | None:
        """Watch the one model; None for any other model."""
        return super().start_watching(model, trained, compiled) if model is self._model else None

    def on_compile(self, model: KerasModel, call: Callable[[], Any]) -> Any:  # noqa: ARG002 - a listener's
        """Compile; a model that is compiled in the middle of its loop keeps its diagnosis."""
        with self.hooks_disabled():
            return call()

    def on_apply(
        self, optimizer: KerasOptimizer, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Handle a step of the loop, if it is a step of the given optimizer."""
        if self._optimizer in (None, optimizer):
            return super().on_apply(optimizer, original, args, kwargs)
        with self.hooks_disabled():
            return original(optimizer, *args, **kwargs)

    def on_call(self, layer: KerasLayer, call: Callable[[], Any], inputs: Any) -> Any:
        """Handle a call of the one model."""
        return super().on_call(layer, call, inputs) if layer is self._model else call()
