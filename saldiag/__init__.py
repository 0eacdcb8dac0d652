"""saldiag tells why a Keras model does not learn, proves it, and points at the line to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saldiag import serializable

if TYPE_CHECKING:
    from saldiag.app.api import Diagnosis, Watch, diagnose, watch

__version__ = "0.1.0"
__all__ = ["Diagnosis", "Watch", "__version__", "diagnose", "watch"]

serializable.register()  # load_model finds saldiag's layers, losses and metrics; imports no Keras


def __getattr__(name: str) -> Any:
    """What needs TensorFlow is imported when it is asked for: ``saldiag --help`` does without."""
    if name in __all__:
        from saldiag.app import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
