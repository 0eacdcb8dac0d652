"""Constants that float16 rounds to 0, found where they were to guard something."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow


def _lost(function: Any, dtype: str = "mixed_float16") -> Any:
    import keras

    from saldiag_probes.survey import measure_dtypes

    layer = keras.layers.Lambda(function, name="own", dtype=dtype)
    model = models.sequential((3,), layer)
    return measure_dtypes(model, keras.KerasTensor((2, 3))).lost_constants


def test_an_epsilon_before_a_logarithm_a_root_or_in_a_denominator() -> None:
    from keras import ops

    for function, guarded in (
        (lambda x: ops.log(x + 1e-8), "Log"),
        (lambda x: ops.sqrt(ops.square(x) + 1e-9), "Sqrt"),
        (lambda x: x / (ops.abs(x) + 1e-8), "RealDiv"),
        (lambda x: x / ops.maximum(ops.abs(x), 1e-12), "RealDiv"),
    ):
        (found,) = _lost(function)
        assert (found.layer, found.guards) == ("own", guarded)


def test_constants_in_range_of_float16_or_in_float32_are_left_out() -> None:
    from keras import ops

    assert _lost(lambda x: ops.log(x + 1e-4)) == ()
    assert _lost(lambda x: ops.log(x + 1e-8), "float32") == ()
    assert _lost(lambda x: ops.log(ops.cast(x, "float32") + 1e-8)) == ()


def test_a_zero_that_guards_no_operation_is_left_out() -> None:
    from keras import ops

    assert _lost(lambda x: ops.maximum(x, 0.0) + 0.0) == ()
    assert _lost(lambda x: ops.sqrt(ops.maximum(x, 0.0))) == ()


def test_a_zero_that_was_one_from_the_start_is_no_epsilon() -> None:
    from keras import ops

    assert _lost(lambda x: ops.log(sum([x]))) == ()
    assert _lost(lambda x: x / sum([ops.abs(x), ops.exp(x)])) == ()
    assert len(_lost(lambda x: ops.log(1e-8 + sum([x])))) == 1


def test_layers_of_keras_are_left_alone() -> None:
    import keras

    from saldiag_probes.survey import measure_dtypes

    parts = [
        keras.layers.BatchNormalization(epsilon=1e-9, dtype="mixed_float16"),
        keras.layers.LayerNormalization(epsilon=1e-9, dtype="mixed_float16"),
    ]
    model = models.sequential((3,), *parts)
    assert measure_dtypes(model, keras.KerasTensor((2, 3))).lost_constants == ()
