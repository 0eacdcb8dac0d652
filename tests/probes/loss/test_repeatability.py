"""A loss with a state of its own is noticed, and nothing is judged by it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from saldiag.core.measurement import CHANGED_BY_ITSELF, LossCheck, Measurements
from tests.support import models

pytestmark = pytest.mark.tensorflow
keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

Loss = Callable[[Any, Any], Any]


def error(y: Any, y_pred: Any) -> Any:
    return keras.ops.mean((y - y_pred) ** 2)


def counted_in_python() -> Loss:
    calls = [0]

    def loss(y: Any, y_pred: Any) -> Any:
        calls[0] += 1
        return error(y, y_pred) * calls[0]

    return loss


def counted_in_a_variable() -> Loss:
    calls = tf.Variable(0.0)
    return lambda y, y_pred: error(y, y_pred) * calls.assign_add(1.0)


def annealed() -> Loss:
    """The state of a Keras variable in a loss class."""

    class Annealed(keras.losses.Loss):
        def __init__(self) -> None:
            super().__init__()
            self.calls = keras.Variable(0.0, trainable=False)

        def call(self, y_true: Any, y_pred: Any) -> Any:
            self.calls.assign_add(1.0)
            return error(y_true, y_pred) * self.calls

    return Annealed()


def noisy(draw: Callable[[], Any]) -> Loss:
    return lambda y, y_pred: error(y, y_pred + draw())


def noise_of_a_generator() -> Loss:
    generator = tf.random.Generator.from_seed(1)
    return noisy(lambda: generator.normal(()))


LOSSES: dict[str, tuple[Callable[[], Any], bool]] = {
    "python counter": (counted_in_python, True),
    "variable": (counted_in_a_variable, True),
    "keras variable": (annealed, True),
    "plain": (lambda: error, False),
    "of keras": (lambda: "mse", False),
    "not a number": (lambda: lambda y, y_pred: error(y, y_pred) * float("nan"), False),
    "raises": (lambda: lambda y, y_pred: error(y, y_pred[:, 5]), False),
    "noise": (lambda: noisy(lambda: tf.random.normal(())), False),
    "noise of keras": (lambda: noisy(lambda: keras.random.normal(())), False),
    "noise of python": (lambda: noisy(random.random), False),
    "noise of numpy": (lambda: noisy(np.random.rand), False),
    "noise of a generator": (noise_of_a_generator, False),
}


def compiled(loss: Any, **options: Any) -> tuple[Any, tuple[Any, Any]]:
    model = models.mlp(4, 5, seed=3)
    model.compile("sgd", loss, **options)
    numbers = np.random.default_rng(0)
    x, y = numbers.normal(size=(8, 4)), numbers.normal(size=(8, 1))
    return model, (x.astype("float32"), y.astype("float32"))


@pytest.mark.parametrize("name", list(LOSSES))
def test_only_a_state_is_reported(name: str) -> None:
    from saldiag_probes.loss.repeatability import changing_loss

    make, has_state = LOSSES[name]
    keras.utils.set_random_seed(1)
    model, batch = compiled(make())
    found = changing_loss(model, batch, np.zeros((8, 1), np.float32))
    assert (found is not None) == has_state
    assert found is None or found.endswith(CHANGED_BY_ITSELF)


def test_the_two_values_are_named() -> None:
    from saldiag_probes.loss.repeatability import changing_loss

    model, batch = compiled(counted_in_a_variable())
    batch = batch[0], np.ones((8, 1), np.float32)
    expected = f"the loss returned 1 and then 2 for the same batch: {CHANGED_BY_ITSELF}"
    assert changing_loss(model, batch, np.zeros((8, 1), np.float32)) == expected


def test_the_variable_is_set_back() -> None:
    from saldiag_probes.loss.repeatability import changing_loss

    loss = annealed()
    model, batch = compiled(loss)
    changing_loss(model, batch, np.zeros((8, 1), np.float32))
    assert float(loss.calls) == 0


@pytest.mark.slow
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("make", [counted_in_python, counted_in_a_variable])
def test_nothing_is_judged_by_it(make: Callable[[], Loss], eager: bool) -> None:
    from saldiag.app.examine.in_memory import examine_model
    from saldiag.app.loading.subject import Subject
    from saldiag.app.session.judging import judge

    model, batch = compiled(make(), run_eagerly=eager)
    measured = examine_model(Subject(model), [batch], max_steps=5)
    diagnosis = judge(measured)
    assert diagnosis.verdict == "inconclusive"
    assert [f.rule for f in diagnosis.findings if f.severity != "info"] == []
    reasons = {skipped.rule: skipped.reason for skipped in diagnosis.skipped}
    assert all(CHANGED_BY_ITSELF in reasons[rule] for rule in ("SD103", "SD701", "SD705", "SD801"))


def test_a_rule_that_compares_losses_is_skipped() -> None:
    from saldiag.rules.engine.registry import all_rules
    from saldiag.rules.verdicts.training import verdict_from

    reason = f"the loss returned 1 and then 2 for the same batch: {CHANGED_BY_ITSELF}"
    measured = Measurements.of(missing={LossCheck.key: reason})
    assert measured.changing_loss == reason
    assert verdict_from(measured) == ("inconclusive", reason)
    assert {"SD701", "SD801", "SD807"} <= {r.code for r in all_rules() if r.compares_losses}
    assert Measurements.of(missing={LossCheck.key: "other"}).changing_loss == ""
