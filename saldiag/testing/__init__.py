"""Unit tests for models: plain functions that raise ``AssertionError``, and a pytest plugin.

Nothing here imports TensorFlow or Keras before it is called.
"""

from __future__ import annotations

from saldiag.testing.assertions import (
    assert_gradients_flow,
    assert_learns,
    assert_no_findings,
    assert_trainable,
)

__all__ = ["assert_gradients_flow", "assert_learns", "assert_no_findings", "assert_trainable"]
