"""Integers of few bits that leave their range, counted on a batch; what is done to the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow

BATCH = np.array([[0, 100, 128, 255], [1, 2, 200, 250]], dtype="uint8")


def _survey(function: Any, batch: Any = BATCH) -> Any:
    import keras

    from saldiag_probes.survey import survey

    last, dtype = keras.layers.Dense(1, name="last"), batch.dtype.name
    model = models.functional(batch.shape[1:], lambda x: last(function(x)), dtype=dtype)
    return survey(model, batch, flow=False)


def test_the_share_of_results_that_wrap_is_exact() -> None:
    (found,) = _survey(lambda x: x - 128).dtypes.wrapped
    assert (found.op, found.dtype, found.layer) == ("Sub", "uint8", "")
    assert found.share == 4 / 8
    (found,) = _survey(lambda x: x + 10).dtypes.wrapped
    assert found.share == 2 / 8


def test_the_layer_is_named_and_casts_out_of_range_are_found() -> None:
    import keras

    def cast(x: Any) -> Any:
        return keras.ops.cast(keras.ops.cast(x, "float32") * 2.0, "uint8")

    (found,) = _survey(keras.layers.Lambda(cast, name="own")).dtypes.wrapped
    assert (found.op, found.layer, found.share) == ("Cast", "own", 4 / 8)


def test_results_in_range_and_wide_types_are_left_out() -> None:
    import keras

    assert _survey(lambda x: 255 - x).dtypes.wrapped == ()
    assert _survey(lambda x: keras.ops.cast(x, "float32") - 128).dtypes.wrapped == ()
    assert _survey(lambda x: x * 2_000_000_000, BATCH.astype("int32")).dtypes.wrapped == ()


def test_without_a_run_overflows_are_unknown() -> None:

    from saldiag_probes.survey import measure_dtypes

    model = models.dense(4, 1)
    assert measure_dtypes(model, BATCH).wrapped is None


def test_operations_on_the_input_alone_are_listed() -> None:
    floats = BATCH.astype("float32")
    assert "RealDiv" in _survey(lambda x: x / 255.0, floats).wiring.on_input

    def later(x: Any) -> Any:
        import keras

        return keras.layers.Dense(4, name="first")(x) / 255.0

    wiring = _survey(later, floats).wiring
    assert "RealDiv" in wiring.operations
    assert "RealDiv" not in wiring.on_input


@pytest.mark.parametrize(
    ("function", "op"),
    [
        (lambda x: x // 255, "FloorDiv"),
        (lambda x: _keras().ops.cast(_keras().ops.cast(x, "float32") / 300.0, "int32"), "Cast"),
    ],
)
def test_integer_results_that_lose_all_values(function: Any, op: str) -> None:
    batch = np.arange(16, dtype="uint8").reshape(2, 8)
    (found,) = _survey(function, batch).dtypes.wrapped
    assert (found.op, found.flat, found.share) == (op, True, 1.0)


def test_integer_results_that_keep_values_are_left_out() -> None:
    batch = np.arange(16, dtype="uint8").reshape(2, 8)
    assert _survey(lambda x: x // 15, batch).dtypes.wrapped == ()
    assert _survey(lambda x: x // 15, np.full_like(batch, 3)).dtypes.wrapped == ()
    assert _survey(lambda x: x[:, :1] // 255, batch).dtypes.wrapped == (), "too few to tell"
    assert _survey(lambda x: _keras().ops.cast(x, "float32") / 255, batch).dtypes.wrapped == ()


def test_integer_results_of_values_used_elsewhere_are_left_out() -> None:
    batch = np.arange(16, dtype="int32").reshape(2, 8)
    ops = _keras().ops

    def day_and_minute(x: Any) -> Any:
        return ops.cast(ops.concatenate([x // 1440, x % 1440], -1), "float32")

    def shifted(x: Any) -> Any:
        return ops.cast(x, "float32") + ops.cast((x - 1) // 1440, "float32")

    assert _survey(day_and_minute, batch).dtypes.wrapped == ()
    assert _survey(shifted, batch).dtypes.wrapped == ()
    assert len(_survey(lambda x: ops.cast(x // 1440, "float32"), batch).dtypes.wrapped) == 1


def _keras() -> Any:
    import keras

    return keras
