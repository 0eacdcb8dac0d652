"""A step that XLA cannot compile with the probe in it is repeated without the probe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


def network() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = models.sequential(
        (4,), layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(1)
    )
    model.compile("adam", "mse", jit_compile=True)
    model.optimizer.build(model.trainable_variables)
    return model


def batches() -> list[Any]:
    import tensorflow as tf

    draw = np.random.default_rng(0).normal
    pairs = [(draw(size=(8, 4)), draw(size=(8, 1))) for _ in range(4)]
    return [tuple(tf.constant(part, tf.float32) for part in pair) for pair in pairs]


def one_step(model: Any, batch: Any) -> float:
    """What ``fit`` does with a batch."""
    import tensorflow as tf

    model.make_train_function()
    logs = model.train_function(iter(tf.data.Dataset.from_tensors(batch)))
    return float(logs["loss"])


def state(model: Any) -> list[bytes]:
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [np.asarray(variable).tobytes() for variable in variables]


def cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from saldiag_probes.training import batched_statistics, step_statistics

    def with_python(block: Any) -> Any:
        rows = batched_statistics.gradient_statistics(block)
        found = tf.py_function(lambda x: x, [rows], tf.float64)
        found.set_shape(rows.shape)
        return found

    substitute = {name: getattr(batched_statistics, name) for name in dir(batched_statistics)}
    substitute["gradient_statistics"] = with_python
    module = type("Substitute", (), {k: staticmethod(v) if callable(v) else v
                                     for k, v in substitute.items() if k[:2] != "__"})  # fmt: skip
    monkeypatch.setattr(step_statistics, "batched_statistics", module)


def test_the_training_goes_on_without_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    from saldiag_probes.training.callback import Watch
    from saldiag_probes.training.first_step import run_first_step

    plain = network()
    losses = [one_step(plain, batch) for batch in batches()]

    cannot_be_compiled(monkeypatch)
    model, watch = network(), Watch("full")
    watch.attach(model)
    first, *rest = batches()

    def withdraw(reason: str) -> None:
        watch.failed = reason
        watch.close()

    found = [
        run_first_step(lambda: one_step(model, first), withdraw, lambda: one_step(model, first))
    ]
    found += [one_step(model, batch) for batch in rest]
    assert "fails with the probe in it" in (watch.failed or "")
    assert "PyFunc" in (watch.failed or "")
    assert found == losses
    assert state(model) == state(plain)


def test_a_healthy_step_runs_once() -> None:
    from saldiag_probes.training.first_step import run_first_step

    calls: list[str] = []
    found = run_first_step(lambda: 7, calls.append, lambda: calls.append("again"))
    assert found == 7
    assert calls == []


def test_what_a_failed_step_changed_is_restored() -> None:
    import tensorflow as tf

    from saldiag_probes.training.first_step import run_first_step

    count = tf.Variable(3)
    reasons: list[str] = []

    def fails() -> None:
        count.assign_add(1)
        tf.debugging.assert_equal(1, 2, "unlike")

    assert int(run_first_step(fails, reasons.append, lambda: count.assign_add(1), [count])) == 4
    assert reasons == ["the training step fails with the probe in it: unlike"]


def test_the_programs_own_error_comes_from_the_repeated_step() -> None:
    import tensorflow as tf

    from saldiag_probes.training.first_step import run_first_step

    def fails(message: str) -> None:
        tf.debugging.assert_equal(1, 2, message)

    with pytest.raises(tf.errors.InvalidArgumentError, match="second") as caught:
        run_first_step(lambda: fails("first"), lambda _: None, lambda: fails("second"))
    assert caught.value.__context__ is None or "first" not in str(caught.value.__context__)


@pytest.mark.parametrize("kind", ["end of data", "python"])
def test_other_errors_pass_at_once(kind: str) -> None:
    import tensorflow as tf

    from saldiag_probes.training.first_step import run_first_step

    error = ValueError("x") if kind == "python" else tf.errors.OutOfRangeError(None, None, "end")

    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run_first_step(fails, lambda _: pytest.fail("withdrawn"), lambda: pytest.fail("again"))
    assert caught.value is error
