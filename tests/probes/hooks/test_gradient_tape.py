"""What gradient tapes are asked for, and that they are put back."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def targets():
    from saldiag_probes.hooks.gradient_tape import TAPE_TARGETS

    TAPE_TARGETS.start_listening()
    yield TAPE_TARGETS
    TAPE_TARGETS.stop_listening()


def test_the_loss_is_the_target_of_the_gradient_call(targets):
    import tensorflow as tf

    from saldiag_probes.hooks.tape_call import variable_id

    one, other = tf.Variable(2.0), tf.Variable(3.0)
    for variable in (one, other):
        with tf.GradientTape() as tape:
            target = [variable**2, tf.stack([variable, variable])]
        tape.gradient(target, [variable])
    with tf.GradientTape() as tape:
        target = one**3
    tape.gradient(target, one, output_gradients=tf.constant(2.0))  # on the way to a loss
    assert float(targets.loss([variable_id(one)])) == 8.0  # the sum
    assert float(targets.loss([variable_id(other)])) == 15.0
    assert targets.loss([variable_id(tf.Variable(1.0))]) is None

    @tf.function
    def inside():
        assert targets.loss([variable_id(one)]) is None  # it is of no graph
        with tf.GradientTape() as tape:
            target = 5.0 * one
        tape.gradient(target, [one])
        return targets.loss([variable_id(one)])

    assert float(inside()) == 10.0
    assert targets.loss([variable_id(one)]) is None  # another graph


def test_more_sources_do_not_change_the_returned_gradients():
    import tensorflow as tf

    from saldiag_probes.hooks.engine import HOOKS, HookPoint
    from saldiag_probes.hooks.tape_call import TapeCall

    original, variable, found = tf.GradientTape.gradient, tf.Variable([1.0, 2.0]), []

    def with_more(call):
        result, more = TapeCall.of(call).with_extra(call, [between, tf.constant(1.0)])
        found.extend(more)
        return result

    with HOOKS.subscribed({HookPoint.TAPE_GRADIENT: with_more}):
        for unconnected in (tf.UnconnectedGradients.NONE, tf.UnconnectedGradients.ZERO):
            with tf.GradientTape() as tape:
                between = variable * 3.0
                loss = tf.reduce_sum(between**2)
            gradients = tape.gradient(
                loss, {"weights": variable}, unconnected_gradients=unconnected
            )
            assert gradients["weights"].numpy().tolist() == [18.0, 36.0]
    assert found[0].numpy().tolist() == [6.0, 12.0]
    assert found[1] is None
    assert float(found[3]) == 0.0
    assert tf.GradientTape.gradient is original


def test_the_last_listener_forgets():
    import tensorflow as tf

    from saldiag_probes.hooks.engine import HOOKS
    from saldiag_probes.hooks.gradient_tape import TAPE_TARGETS
    from saldiag_probes.hooks.tape_call import variable_id

    original, variable = tf.GradientTape.gradient, tf.Variable(2.0)
    TAPE_TARGETS.start_listening()
    TAPE_TARGETS.start_listening()
    with tf.GradientTape() as tape:
        target = variable * 3.0
    tape.gradient(target, variable)
    TAPE_TARGETS.stop_listening()
    assert float(TAPE_TARGETS.loss([variable_id(variable)])) == 6.0
    TAPE_TARGETS.stop_listening()
    assert TAPE_TARGETS.loss([variable_id(variable)]) is None
    assert tf.GradientTape.gradient is original
    assert not HOOKS.subscriptions
