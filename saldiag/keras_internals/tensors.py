"""What Keras attaches to a tensor."""

from __future__ import annotations

from typing import Any

from saldiag.keras_internals.names import KERAS_NOTE_PREFIX


def logits_behind(tensor: Any) -> Any:
    """The logits that Keras' cross-entropies use instead, or None; there is no public getter."""
    return getattr(tensor, "_keras_logits", None)


def mask_of(tensor: Any) -> Any:
    """The mask that a layer computed for a tensor, or None; there is no public getter."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attach a mask to a tensor; there is no public setter."""
    tensor._keras_mask = mask


def copy_notes(source: Any, target: Any) -> None:
    """Copy everything that Keras attached to one tensor to another; there is no public API."""
    for name, value in vars(source).items():
        if name.startswith(KERAS_NOTE_PREFIX):
            setattr(target, name, value)


def history_of(tensor: Any) -> Any:
    """The operation that created a symbolic tensor, with its indices, or None; not public."""
    return getattr(tensor, "_keras_history", None)
