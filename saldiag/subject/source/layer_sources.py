"""File and line that created each layer, recorded while the model is built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.identity import WeakIdentityMap
from saldiag.core.keras_types import KerasLayer
from saldiag.core.measurement import Source
from saldiag.core.patching import patched
from saldiag.subject.source.stack_frames import calling_source


class LayerSources:
    """Source of every layer created while recording; holds weak references only.

    Args:
        files: collects the fingerprints of the source files.
    """

    def __init__(self, files: FilesSeen) -> None:
        self._files = files
        self._sources: WeakIdentityMap[Source] = WeakIdentityMap()

    def record_layer(self, layer: KerasLayer) -> None:
        """Record the user's line that is creating ``layer``."""
        source = self.caller_source()
        if source is not None:
            self._sources[layer] = source

    def caller_source(self) -> Source | None:
        """The line of the user's code that is being executed."""
        return calling_source(self._files)

    def live_models(self) -> list[Any]:
        """The recorded models that are still alive, in order of creation."""
        import keras

        return [layer for layer, _ in self._sources.items() if isinstance(layer, keras.Model)]

    def by_name(self) -> dict[str, Source]:
        """Source of each live layer by name; the latest of layers with the same name."""
        named = [(getattr(layer, "name", None), at) for layer, at in self._sources.items()]
        return {name: source for name, source in named if isinstance(name, str)}

    def by_id(self) -> dict[int, Source]:
        """Source of each live layer by ``id(layer)``."""
        return {id(layer): source for layer, source in self._sources.items()}


@contextmanager
def recording_sources(files: FilesSeen) -> Iterator[LayerSources]:
    """Record where layers are created until the block ends.

    ``Layer.__new__`` is wrapped because it runs directly below the line that creates the layer;
    ``__init__`` runs below the subclass' own ``super().__init__`` line.

    Args:
        files: collects the fingerprints of the source files.
    """
    import keras

    lines = LayerSources(files)
    original = keras.layers.Layer.__dict__["__new__"]
    make = original.__func__ if isinstance(original, staticmethod) else original

    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - it is that method
        layer = make(cls, *args, **kwargs)
        lines.record_layer(layer)
        return layer

    with patched(keras.layers.Layer, "__new__", __new__):
        yield lines
