"""Unit tests for models: functions that raise ``AssertionError``, and a pytest plugin.

Importing this package does not import TensorFlow or Keras; calling its functions does.
"""

from __future__ import annotations

from saldiag.testing.assertions import (
    assert_gradients_flow,
    assert_learns,
    assert_no_findings,
    assert_trainable,
)

__all__ = ["assert_gradients_flow", "assert_learns", "assert_no_findings", "assert_trainable"]
