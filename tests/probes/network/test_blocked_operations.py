"""Operations without a gradient, found in the graph: only where no other way leads back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow


def _blocked(between: Any, loss: Any = "mse") -> Any:
    import keras

    from saldiag_probes.survey import survey

    before, behind = keras.layers.Dense(8, name="before"), keras.layers.Dense(1, name="behind")
    model = models.functional((6,), lambda x: behind(between(before(x))))
    models.compiled(model, "sgd", loss)
    batch = np.ones((4, 6), "float32"), np.ones((4, 1), "float32")
    return survey(model, batch, activations=False).wiring.blocked


def _hard(name: str) -> Any:
    from keras import ops

    return {
        "ArgMax": lambda x: ops.cast(ops.argmax(x, axis=-1, keepdims=True), "float32"),
        "Greater": lambda x: ops.cast(x > 0.0, "float32"),
        "Round": ops.round,
        "Sign": ops.sign,
        "StopGradient": ops.stop_gradient,
        "cast to integers": lambda x: ops.cast(ops.cast(x, "int32"), "float32"),
    }[name]


@pytest.mark.parametrize(
    "name", ["ArgMax", "Greater", "Round", "Sign", "StopGradient", "cast to integers"]
)
def test_an_operation_on_the_only_path_is_named(name: str) -> None:
    (found,) = _blocked(_hard(name))
    assert (found.op, found.behind, found.before) == (name, "behind", ("before",))
    assert not found.fed


def test_a_path_around_the_operation_leaves_it_out() -> None:
    from keras import ops

    assert _blocked(lambda x: x + ops.stop_gradient(ops.round(x) - x)) == ()
    assert _blocked(lambda x: ops.where(x > 0.0, x, 0.1 * x)) == ()


def test_an_operation_further_on_has_no_part_in_it() -> None:
    from keras import ops

    def loss(y: Any, p: Any) -> Any:
        return ops.where(p >= 0.0, ops.square(p - y), ops.abs(p - y))

    (found,) = _blocked(ops.round, loss)
    assert (found.op, found.before) == ("Round", ("before",))
    (found,) = _blocked(lambda x: ops.round(ops.sign(x)), loss)
    assert (found.op, found.behind, found.before) == ("Sign", "behind", ("before",))


def test_a_layer_is_named_that_holds_it() -> None:
    import keras

    (found,) = _blocked(keras.layers.Lambda(keras.ops.floor, name="low"))
    assert (found.op, found.layer, found.before) == ("Floor", "low", ("before",))


def test_a_loss_can_hold_it_too() -> None:
    from keras import ops

    (found,) = _blocked(lambda x: x, lambda y, p: ops.abs(ops.round(p) - y))
    assert (found.op, found.layer, found.behind) == ("Round", "", "")
    assert found.before == ("before", "behind")


def test_without_a_loss_blocked_operations_are_unknown() -> None:
    import keras

    from saldiag_probes.survey import measure_wiring

    model = models.dense(3, 1)
    assert measure_wiring(model, keras.KerasTensor((2, 3))).blocked is None
