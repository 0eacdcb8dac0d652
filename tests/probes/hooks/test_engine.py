"""Each method is patched once, whoever listens, and is as it was when nobody does."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

pytestmark = pytest.mark.tensorflow


def originals():
    """Every class attribute that the engine may replace."""
    from saldiag_probes.hooks.engine import METHODS

    found = {}
    for methods in METHODS.values():
        for cls, name in methods:
            for owner in cls.__mro__[:-1]:
                found[owner, name] = vars(owner).get(name)
    return found


def passed(log, name):
    def handle(call):
        log.append(name)
        return call.proceed()

    return handle


class TestCalls:
    def test_go_through_all_subscribers_oldest_first(self, keras):
        from saldiag_probes.hooks.engine import HOOKS, HookPoint

        model, log = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), []
        with HOOKS.subscribed({HookPoint.COMPILE: passed(log, "first")}):
            patch = vars(keras.Model.__mro__[1]).get("compile") or keras.Model.compile
            with HOOKS.subscribed({HookPoint.COMPILE: passed(log, "second")}):
                assert keras.Model.compile is patch or keras.Model.compile.__wrapped__
                model.compile("sgd", "mse")
        assert log == ["first", "second"]
        model.compile("sgd", "mse")
        assert log == ["first", "second"]

    def test_of_others_than_the_owner_are_not_handled(self, keras):
        from saldiag_probes.hooks.engine import HOOKS, HookPoint

        one, other, log = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), []
        weight = keras.Variable(1.0)
        with HOOKS.subscribed({HookPoint.APPLY: passed(log, "step")}, one):
            for optimizer in (one, other):
                optimizer.apply_gradients([(keras.ops.ones(()), weight)])
        assert log == ["step"]

    def test_a_subclass_that_calls_its_base_is_handled_once(self, keras):
        from saldiag_probes.hooks.engine import HOOKS, HookPoint

        class Own(keras.optimizers.SGD):
            def apply(self, grads, trainable_variables=None):
                return super().apply(grads, trainable_variables)

        optimizer, log, weight = Own(0.1), [], keras.Variable(1.0)
        before = vars(Own)["apply"]
        with (
            HOOKS.subscribed({HookPoint.APPLY: passed(log, "all")}),
            HOOKS.subscribed({HookPoint.APPLY: passed(log, "own")}, optimizer),
        ):
            optimizer.apply([keras.ops.ones(())], [weight])
        assert log == ["own"] or log == ["all", "own"]
        assert vars(Own)["apply"] is before

    def test_a_handler_may_add_one_that_takes_part(self, keras):
        from saldiag_probes.hooks.engine import HOOKS, HookPoint

        optimizer, log, weight, added = keras.optimizers.SGD(0.1), [], keras.Variable(1.0), []

        def adding(call):
            added.append(HOOKS.subscribe({HookPoint.APPLY: passed(log, "added")}, call.owner))
            return call.proceed()

        with HOOKS.subscribed({HookPoint.APPLY: adding}):
            optimizer.apply([keras.ops.ones(())], [weight])
        added[0].cancel()
        assert log == ["added"]
        assert not HOOKS.subscriptions

    def test_suspended_ones_receive_none_and_new_ones_do(self, keras):
        from saldiag_probes.hooks.engine import HOOKS, HookPoint

        model, log = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), []
        with HOOKS.subscribed({HookPoint.COMPILE: passed(log, "old")}):
            with (
                HOOKS.suspended(),
                HOOKS.subscribed({HookPoint.COMPILE: passed(log, "new")}),
            ):
                model.compile("sgd", "mse")
            model.compile("sgd", "mse")
        assert log == ["new", "old"]

    def test_an_error_passes_and_the_next_call_is_handled(self, keras):
        from saldiag_probes.hooks.engine import HOOKS, HookPoint

        model, log = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), []
        with HOOKS.subscribed({HookPoint.FIT: passed(log, "fit")}):
            for _ in range(2):
                with pytest.raises(ValueError, match="compile"):
                    model.fit([[1.0, 2.0]], [[1.0]], verbose=0)
        assert log == ["fit", "fit"]

    def test_an_instance_with_its_own_method_keeps_it(self, keras):
        from saldiag_probes.hooks.engine import HOOKS, HookPoint

        optimizer, log = keras.optimizers.SGD(0.1), []
        object.__setattr__(optimizer, "apply", own := lambda *_, **__: log.append("own"))
        with HOOKS.subscribed({HookPoint.APPLY: passed(log, "hook")}, optimizer):
            optimizer.apply([])
        assert log == ["hook", "own"]
        assert vars(optimizer)["apply"] is own


def test_another_patch_on_top_stays_and_ours_lets_calls_pass(keras, monkeypatch):
    from saldiag_probes.hooks.engine import HOOKS, HookPoint

    model, log = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), []
    before = originals()
    first = HOOKS.subscribe({HookPoint.COMPILE: passed(log, "ours")})
    holder = next(c for c in keras.Model.__mro__ if "compile" in vars(c))
    ours = vars(holder)["compile"]

    def theirs(self, *args, **kwargs):
        log.append("theirs")
        return ours(self, *args, **kwargs)

    monkeypatch.setattr(holder, "compile", theirs)
    model.compile("sgd", "mse")
    first.cancel()
    model.compile("sgd", "mse")
    assert log == ["theirs", "ours", "theirs"]
    assert vars(holder)["compile"] is theirs
    again = HOOKS.subscribe({HookPoint.COMPILE: passed(log, "again")})
    model.compile("sgd", "mse")
    again.cancel()
    assert log[3:] == ["again", "theirs"]
    monkeypatch.undo()
    with HOOKS.subscribed({HookPoint.COMPILE: passed(log, "last")}):
        pass
    assert originals() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_is_not_hooked(keras):
    from saldiag_probes.hooks.engine import HOOKS, HookPoint

    before, read = originals(), os.pipe()
    with HOOKS.subscribed({HookPoint.COMPILE: passed([], "parent")}):
        child = os.fork()
        if child == 0:
            is_free = originals() == before and not HOOKS.subscriptions
            os.write(read[1], b"free" if is_free else b"hooked")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read[0], 10) == b"free"
        assert len(HOOKS.subscriptions) == 1
    for end in read:
        os.close(end)


class Subscribing(RuleBasedStateMachine):
    """Subscribes, cancels, suspends and raises in any order, and calls in between."""

    def __init__(self):
        super().__init__()
        import keras

        from saldiag_probes.hooks.engine import HOOKS, HookPoint

        self.hooks, self.points = HOOKS, list(HookPoint)
        self.before = originals()
        self.model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        self.model.compile("sgd", "mse")
        self.optimizers = [keras.optimizers.SGD(0.0), self.model.optimizer]
        self.weight = keras.Variable(1.0)
        self.open, self.stack, self.log = [], [], []

    def owner_of(self, point, number):
        if point.name == "APPLY":
            return [None, *self.optimizers][number]
        return self.model if point.name == "COMPUTE_LOSS" else None

    @rule(data=st.data(), number=st.integers(0, 2), nested=st.booleans(), fails=st.booleans())
    def subscribe(self, data, number, nested, fails):
        point = data.draw(st.sampled_from(self.points))
        owner = self.owner_of(point, number)

        def handle(call):
            self.log.append(entry)
            if fails and len(self.log) % 3 == 0:
                raise ArithmeticError
            return call.proceed()

        entry = [point, owner]
        if nested:
            context = self.hooks.subscribed({point: handle}, owner)
            context.__enter__()
            self.stack.append((context, entry))
        else:
            self.open.append((self.hooks.subscribe({point: handle}, owner), entry))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), twice=st.booleans())
    def cancel(self, data, twice):
        index = data.draw(st.integers(0, len(self.open) - 1))
        subscription, _ = self.open.pop(index)
        subscription.cancel()
        if twice:
            subscription.cancel()

    @precondition(lambda self: self.stack)
    @rule(raises=st.booleans())
    def leave_block(self, raises):
        context, _ = self.stack.pop()
        error = KeyError() if raises else None
        left = context.__exit__(type(error) if raises else None, error, None)
        assert not left  # the error of a block is not swallowed

    @rule(number=st.integers(0, 1), suspended=st.booleans())
    def step(self, number, suspended):
        import contextlib

        import keras

        self.log.clear()
        optimizer = self.optimizers[number]
        entries = [entry for _, entry in (*self.open, *self.stack)]
        wanted = [e for e in entries if e[0].name == "APPLY" and e[1] in (None, optimizer)]
        with self.hooks.suspended() if suspended else contextlib.nullcontext():
            try:
                optimizer.apply([keras.ops.ones(())], [self.weight])
            except ArithmeticError:
                return
        applied = [e for e in self.log if e[0].name == "APPLY"]
        assert len(applied) == (0 if suspended else len(wanted))

    @invariant()
    def unused_methods_are_as_they_were(self):
        used = {entry[0] for _, entry in (*self.open, *self.stack)}
        if not used:
            assert originals() == self.before

    def teardown(self):
        for subscription, _ in self.open:
            subscription.cancel()
        while self.stack:
            self.leave_block(raises=False)
        assert originals() == self.before
        assert not self.hooks.subscriptions
        assert "compute_loss" not in vars(self.model)


TestInAnyOrder = Subscribing.TestCase
TestInAnyOrder.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
