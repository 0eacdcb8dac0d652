"""Observes the training of one model inside a block (``saldiag.watch``)."""

from __future__ import annotations

from typing import Any

from saldiag.app.session.collector import Collector
from saldiag.app.watching.observer import Observer
from saldiag.app.watching.options import WatchOptions
from saldiag.app.watching.watched_model import WatchedModel
from saldiag.core.keras_types import KerasModel, KerasOptimizer
from saldiag.core.measurement import Source
from saldiag.subject.source.layer_sources import LayerSources
from saldiag_probes.hooks.engine import HookedCall


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

    def watched_model(self) -> WatchedModel:
        """What watches the model, from now on if nothing does."""
        watched = self.watched_model_of(self._model) or self.start_watching(self._model, None)
        assert watched is not None
        return watched

    def on_compile(self, call: HookedCall) -> Any:
        """Compile; a model that is compiled in the middle of its loop keeps its diagnosis."""
        with self.looking_away():
            return call.proceed()

    def on_apply(self, call: HookedCall) -> Any:
        """Handle a step of the loop, if it is a step of the given optimizer."""
        if self._optimizer is None or call.owner is self._optimizer:
            return super().on_apply(call)
        with self.looking_away():
            return call.proceed()

    def on_call(self, call: HookedCall) -> Any:
        """Handle a call of the one model."""
        return super().on_call(call) if call.owner is self._model else call.proceed()
