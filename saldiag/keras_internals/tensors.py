"""What Keras leaves on a tensor."""

from __future__ import annotations

from typing import Any

from saldiag.keras_internals.names import KERAS_NOTE_PREFIX


def logits_behind(tensor: Any) -> Any:
    """The logits that Keras' cross-entropies take instead, or None; nothing public has them."""
    return getattr(tensor, "_keras_logits", None)


def mask_of(tensor: Any) -> Any:
    """The mask that a layer computed for a tensor, or None; nothing public reads it."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Put a mask on a tensor; nothing public does."""
    tensor._keras_mask = mask


def copy_notes(source: Any, target: Any) -> None:
    """Put everything that Keras left on one tensor on another; nothing public does."""
    for name, value in vars(source).items():
        if name.startswith(KERAS_NOTE_PREFIX):
            setattr(target, name, value)


def history_of(tensor: Any) -> Any:
    """The operation that made a symbolic tensor, with its place, or None; not public."""
    return getattr(tensor, "_keras_history", None)
