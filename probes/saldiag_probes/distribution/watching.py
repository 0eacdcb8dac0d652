"""Routes what a training on several replicas does to a ``ReplicaWatch``."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf

from saldiag.core.keras_types import KerasModel
from saldiag.core.patching import patched
from saldiag_probes.distribution.replica_watch import Locate, ReplicaWatch


@contextmanager
def watching_replicas(model: KerasModel, locate: Locate) -> Iterator[ReplicaWatch]:
    """Watch a model train inside the block, whatever trains it.

    Args:
        model: the model.
        locate: finds the user's line in a stack.
    """
    watch = ReplicaWatch(model, locate)
    depth = _Depth()
    # AutoGraph converts the hooks, and with them what they call, exactly as without them; their own
    # part is left as it is.
    with ExitStack() as stack:
        for owner, name, wrap in (
            (keras.Model, "__call__", _wrap_call(watch)),
            (tf.GradientTape, "gradient", _wrap_gradient(watch)),
            (tf.distribute.ReplicaContext, "all_reduce", _wrap_all_reduce(watch, depth)),
            (keras.optimizers.Optimizer, "apply", _wrap_apply(watch, depth)),
            (keras.optimizers.LossScaleOptimizer, "apply", _wrap_apply(watch, depth)),
            (tf.distribute.Strategy, "reduce", _wrap_reduce(watch)),
        ):
            defined_in = owner
            if name != "__call__":
                defined_in = next(c for c in owner.__mro__ if name in vars(c))
            original = getattr(defined_in, name)
            hook = functools.wraps(original)(wrap(original))
            stack.enter_context(patched(defined_in, name, hook))
        yield watch


class _Depth(threading.local):
    """How many calls of ``apply`` this replica is in."""

    def __init__(self) -> None:
        self.depth = 0


Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def _unconverted(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook of a function of TensorFlow, which AutoGraph does not convert."""
    kept: Callable[..., Any] = tf.autograph.experimental.do_not_convert(hook)
    return kept


def _wrap_call(watch: ReplicaWatch) -> Wrapper:
    @tf.autograph.experimental.do_not_convert
    def note(model: Any, args: Any) -> None:
        if model is watch.model and args:
            watch.on_model_call(args[0])

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def __call__(model: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
            note(model, args)
            return original(model, *args, **kwargs)

        return __call__

    return wrap


def _wrap_gradient(watch: ReplicaWatch) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def gradient(
            tape: Any,
            target: Any,
            sources: Any,
            output_gradients: Any = None,
            *more: Any,
            **kw: Any,
        ) -> Any:
            result = original(tape, target, sources, output_gradients, *more, **kw)
            if output_gradients is None:
                watch.on_tape_gradient(target, result)
            return result

        return _unconverted(gradient)

    return wrap


def _wrap_all_reduce(watch: ReplicaWatch, depth: _Depth) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def all_reduce(context: Any, reduce_op: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(context, reduce_op, value, *args, **kwargs)
            watch.on_all_reduce(reduce_op, value, result, in_optimizer=depth.depth > 0)
            return result

        return _unconverted(all_reduce)

    return wrap


def _wrap_apply(watch: ReplicaWatch, depth: _Depth) -> Wrapper:
    @tf.autograph.experimental.do_not_convert
    def before(optimizer: Any, grads: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The gradients and the variables as lists: what is given may be read only once."""
        grads = list(grads)
        variables = args[0] if args else kwargs.get("trainable_variables")
        variables = None if variables is None else list(variables)
        if depth.depth == 0:
            watch.on_step_gradients(optimizer, grads, variables or [])
        depth.depth += 1
        return grads, variables

    @tf.autograph.experimental.do_not_convert
    def after() -> None:
        depth.depth -= 1
        if depth.depth == 0:
            watch.on_step_end()

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def apply(optimizer: Any, grads: Any, *args: Any, **kwargs: Any) -> Any:
            grads, variables = before(optimizer, grads, args, kwargs)
            result = original(optimizer, grads, variables)
            after()
            return result

        return apply

    return wrap


def _wrap_reduce(watch: ReplicaWatch) -> Wrapper:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def reduce(strategy: Any, reduce_op: Any, value: Any, axis: Any = None) -> Any:
            result = original(strategy, reduce_op, value, axis)
            watch.on_reduce(reduce_op, value, axis, result)
            return result

        return _unconverted(reduce)

    return wrap
