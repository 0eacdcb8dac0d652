"""What gradient tapes are asked for, and that they are put back."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.tensorflow


class Subscriber:
    """Wants one more gradient."""

    def __init__(self):
        self.wanted, self.answers = [], []

    def extra_tensors(self):
        return self.wanted

    def receive_gradients(self, variables, gradients):
        self.answers.append((variables, gradients))


def test_the_loss_is_the_target_of_the_gradient_call():
    import tensorflow as tf

    from saldiag_probes.training import gradient_tape

    one, other = tf.Variable(2.0), tf.Variable(3.0)
    gradient_tape.start_listening()
    try:
        for variable in (one, other):
            with tf.GradientTape() as tape:
                target = [variable**2, tf.stack([variable, variable])]
            tape.gradient(target, [variable])
        with tf.GradientTape() as tape:
            target = one**3
        tape.gradient(target, one, output_gradients=tf.constant(2.0))  # on the way to a loss
        assert (
            float(gradient_tape.loss_from_tape([gradient_tape.variable_id(one)])) == 8.0
        )  # the sum
        assert float(gradient_tape.loss_from_tape([gradient_tape.variable_id(other)])) == 15.0
        assert gradient_tape.loss_from_tape([gradient_tape.variable_id(tf.Variable(1.0))]) is None

        @tf.function
        def inside():
            assert (
                gradient_tape.loss_from_tape([gradient_tape.variable_id(one)]) is None
            )  # it is of no graph
            with tf.GradientTape() as tape:
                target = 5.0 * one
            tape.gradient(target, [one])
            return gradient_tape.loss_from_tape([gradient_tape.variable_id(one)])

        assert float(inside()) == 10.0
        assert (
            gradient_tape.loss_from_tape([gradient_tape.variable_id(one)]) is None
        )  # another graph
    finally:
        gradient_tape.stop_listening()


def test_recording_does_not_change_the_returned_gradients():
    import tensorflow as tf

    from saldiag_probes.training import gradient_tape

    original, subscriber = tf.GradientTape.gradient, Subscriber()
    variable = tf.Variable([1.0, 2.0])
    with gradient_tape.subscribed_to_tapes(subscriber):
        with tf.GradientTape() as tape:
            between = variable * 3.0
            loss = tf.reduce_sum(between**2)
        subscriber.wanted = [between, tf.constant(1.0)]
        found = tape.gradient(loss, {"weights": variable})
    assert found["weights"].numpy().tolist() == [18.0, 36.0]
    ((variables, (told, nothing)),) = subscriber.answers
    assert variables == {gradient_tape.variable_id(variable)}
    assert told.numpy().tolist() == [6.0, 12.0]
    assert nothing is None
    assert tf.GradientTape.gradient is original


def test_the_tape_is_put_back_by_the_last_who_listens(monkeypatch):
    import tensorflow as tf

    from saldiag_probes.training import gradient_tape

    original = tf.GradientTape.gradient
    gradient_tape.start_listening()
    gradient_tape.start_listening()
    gradient_tape.stop_listening()
    assert tf.GradientTape.gradient is not original
    gradient_tape.stop_listening()
    assert tf.GradientTape.gradient is original
    gradient_tape.start_listening()
    monkeypatch.setattr(tf.GradientTape, "gradient", somebody_elses := lambda *_: None)
    gradient_tape.stop_listening()
    assert tf.GradientTape.gradient is somebody_elses
    monkeypatch.undo()
    tf.GradientTape.gradient = original
