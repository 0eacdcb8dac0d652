"""The first call of a traced training step, repeated without the probe if it fails with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasVariable, TFVariable
from saldiag_probes.state.isolation import backing_variable

NOT_BY_THE_PROBE = (
    tf.errors.OutOfRangeError,
    tf.errors.CancelledError,
    tf.errors.AbortedError,
    tf.errors.UnavailableError,
)
"""Errors of a step that ends: the data is used up, somebody stopped it, a worker is gone."""

PREAMBLE = ("Graph execution error", "Detected at node", "<stack traces unavailable>", "File ")
"""How the lines before TensorFlow's own message begin."""


def run_first_step(
    call: Callable[[], Any],
    withdraw_probe: Callable[[str], None],
    call_again: Callable[[], Any],
    variables: Iterable[KerasVariable | TFVariable] = (),
) -> Any:
    """Run a training step that contains the probe for the first time.

    XLA compiles a step when it first runs, and only then does it report an operation that it cannot
    compile. If the step fails in TensorFlow, the probe is withdrawn and the step repeated. An error
    of the program itself is raised by the repeated step, as without the probe.

    A step that is compiled as a whole has changed nothing when its compilation fails. For any other
    step, name the variables that it may change.

    Args:
        call: runs the step. It draws no batch: the batch is drawn before, and can be used again.
        withdraw_probe: called with the reason; the step must be traced without the probe then.
        call_again: runs the step on the same batch.
        variables: they have their present values again when the step is repeated. Their values are
            kept until ``call`` returns, which takes as much memory as they have.

    Returns:
        What ``call`` or ``call_again`` returns.
    """
    values = [(raw, raw.read_value()) for raw in map(backing_variable, variables)]
    try:
        return call()
    except NOT_BY_THE_PROBE:
        raise
    except tf.errors.OpError as error:
        reason = f"the training step fails with the probe in it: {_first_line(error)}"
    # Outside of the except block: an error of the program has no context that comes from here.
    withdraw_probe(reason)
    for raw, value in values:
        raw.assign(value)
    return call_again()


def _first_line(error: tf.errors.OpError) -> str:
    lines = [line.strip() for line in str(error.message).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(PREAMBLE)]
    return (useful or lines or [type(error).__name__])[0]
