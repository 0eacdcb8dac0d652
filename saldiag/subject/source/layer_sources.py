"""Where each layer was made: file and line, recorded while the model is built."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.measurement import Source
from saldiag.subject.source.stack_frames import calling_source


class LayerSources:
    """Source of every layer made while recording; holds no layer alive.

    Args:
        files: takes the fingerprints of the files that the sources are in.
    """

    def __init__(self, files: FilesSeen) -> None:
        self._files = files
        self._sources: weakref.WeakKeyDictionary[Any, Source] = weakref.WeakKeyDictionary()

    def note(self, layer: Any) -> None:
        """Remember that ``layer`` is being made here."""
        source = self.caller()
        if source is not None:
            self._sources[layer] = source

    def caller(self) -> Source | None:
        """The line of the user's code that this is called from."""
        return calling_source(self._files)

    def models(self) -> list[Any]:
        """The models among them that are still alive, in the order in which they were made."""
        import keras

        return [layer for layer in list(self._sources) if isinstance(layer, keras.Model)]

    def by_name(self) -> dict[str, Source]:
        """Source by name of the layers that are still alive; of two of one name the later."""
        named = [(getattr(layer, "name", None), at) for layer, at in list(self._sources.items())]
        return {name: source for name, source in named if isinstance(name, str)}

    def by_id(self) -> dict[int, Source]:
        """Source by ``id(layer)`` of the layers that are still alive."""
        return {id(layer): source for layer, source in self._sources.items()}


@contextmanager
def recording_sources(files: FilesSeen) -> Iterator[LayerSources]:
    """Record where layers are made, until the block ends; ``files`` takes their fingerprints.

    ``Layer.__new__`` is wrapped because it runs directly under the line that makes the layer;
    ``__init__`` runs under the subclass' own ``super().__init__`` line.
    """
    import keras

    lines = LayerSources(files)
    original = keras.layers.Layer.__dict__["__new__"]
    make = original.__func__ if isinstance(original, staticmethod) else original

    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - it is that method
        layer = make(cls, *args, **kwargs)
        lines.note(layer)
        return layer

    keras.layers.Layer.__new__ = __new__
    try:
        yield lines
    finally:
        keras.layers.Layer.__new__ = original
