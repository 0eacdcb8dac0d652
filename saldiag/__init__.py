"""saldiag tells why a Keras model does not learn, proves it, and points at the line to change."""

from __future__ import annotations

__version__ = "0.1.0"
