"""saldiag finds out why a Keras model doesn't learn and points at the line to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saldiag import serializable
from saldiag.version import __version__

if TYPE_CHECKING:
    from saldiag.app.api import Diagnosis, Watch, diagnose, watch

__all__ = ["Diagnosis", "Watch", "__version__", "diagnose", "watch"]

serializable.register()  # load_model finds saldiag's layers, losses and metrics; imports no Keras


def __getattr__(name: str) -> Any:
    """Import what needs TensorFlow when it is first used, so that ``saldiag --help`` does not.

    Raises:
        SaldiagError: Keras runs on another backend.
    """
    if name in __all__:
        from saldiag.subject.program.backend import require_tensorflow

        require_tensorflow()
        from saldiag.app import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
