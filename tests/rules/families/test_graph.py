"""Rules on what the graph and the steps show (SD115, SD116, SD301, SD408, SD505, SD507)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from saldiag.core.measurement import BlockedOperation, UntrackedWeights, Wiring
from tests.faults import sd115_operation_without_gradient as cut_off
from tests.faults import sd505_loss_scale_falls as falling
from tests.support.judging import found, one, skipped
from tests.support.measurements import (
    CALLS,
    STEPS,
    VARIABLES,
    activations,
    call,
    dtype_row,
    dtypes,
    gradients,
    overfit,
    rows_with,
    wiring,
)  # fmt: skip

BLOCKED = cut_off.BLOCKED
TARGET = replace(BLOCKED, op="StopGradient", layer="", behind="")


def test_an_operation_before_layers_that_learn_all_the_same_is_no_cut() -> None:
    assert found("SD115", wiring(blocked=(BLOCKED,))) == []  # the healthy flow feeds the encoder


def test_stop_gradient_is_intended_while_other_layers_learn() -> None:
    teacher = replace(TARGET, before=("teacher",))
    assert found("SD115", wiring(blocked=(teacher,))) == []
    finding = one("SD115", wiring(blocked=(replace(teacher, op="Round"),)))
    assert finding.message.startswith("between output and loss: Round passes no gradient")


def test_it_is_a_warning_where_earlier_layers_learn_along_another_path() -> None:
    beside = BlockedOperation("ArgMax", "gate", "head", ("router",), fed=("encoder/conv",))
    assert one("SD115", wiring(blocked=(beside,))).severity == "warning"


def test_without_a_loss_nothing_is_found() -> None:
    assert skipped("SD115", wiring(blocked=None)) == "there was no loss to trace back from"
    assert "no loss was found" in skipped("SD408", wiring(untracked=None))


def test_a_custom_train_step_may_train_unlisted_weights() -> None:
    hidden = UntrackedWeights("lambda/project", "Dense", True, 272)
    assert "training step" in skipped("SD408", wiring(untracked=(hidden,), own_training=True))


def test_a_variable_of_tensorflow_is_a_warning_that_names_the_attribute() -> None:
    variable = UntrackedWeights("mixing", "matrix", False, 100)
    finding = one("SD408", wiring(untracked=(variable,)))
    assert finding.severity == "warning"
    assert finding.message.startswith("mixing.matrix: a tf.Variable")


def _twins(kind: str = "Conv2D", **fields: Any) -> Wiring:
    one_, two = (
        call(path, kind, "encoder/relu", parameters=9, repeats=first, **fields)
        for path, first in (("branch", None), ("branch#2", "branch"))
    )
    both = call("both", "Concatenate", "branch", "branch#2")
    return wiring(*CALLS[:4], one_, two, both, replace(CALLS[4], inputs=("both",)), CALLS[5])


def test_results_of_one_layer_are_equal_only_without_dropout() -> None:
    assert len(found("SD116", _twins())) == 1
    assert found("SD116", _twins("GRU", config={"dropout": 0.1})) == []
    assert found("SD116", _twins("Dropout")) == []


@pytest.mark.parametrize(("kind", "alarms"), [("MaxPooling2D", 1), ("WordDrop", 0)])
def test_a_custom_layer_can_distinguish_equal_results(kind: str, alarms: int) -> None:
    between = (call("between", kind, "branch"), call("between#2", kind, "branch#2"))
    between = tuple(replace(layer, layer="between") for layer in between)
    calls = (*_twins().calls[:6], *between, call("both", "Concatenate", "between", "between#2"))
    assert len(found("SD116", wiring(*calls))) == alarms


def test_equal_results_used_by_different_layers_are_not_found() -> None:
    heads = (call("one", "Dense", "branch", parameters=9), call("two", "Dense", "branch#2"))
    calls = (*_twins().calls[:6], *heads, call("both", "Concatenate", "one", "two"))
    assert found("SD116", wiring(*calls)) == []


def test_a_layer_applied_repeatedly_to_its_result_is_an_info() -> None:
    paths = ("block", "block#2", "block#3")
    chain = [
        call(path, "Dense", before, parameters=9)
        for path, before in zip(paths, ("encoder/relu", *paths), strict=False)
    ]
    assert one("SD116", wiring(*CALLS[:4], *chain)).severity == "info"
    fed = [chain[0], *(replace(c, inputs=(*c.inputs, "encoder/relu")) for c in chain[1:])]
    assert found("SD116", wiring(*CALLS[:4], *fed)) == []


def _scale(bad: np.ndarray) -> list[Any]:
    scale = 2.0 ** (15 - (np.cumsum(bad) - bad))
    return found("SD505", wiring(loss_scaled=True), gradients(loss_scale=scale))


def test_a_loss_scale_that_settles_is_healthy_however_far_it_fell() -> None:
    assert _scale((np.arange(STEPS) < 14).astype(float)) == []
    assert len(_scale((np.arange(STEPS) % 4 == 0).astype(float))) == 1


def test_a_scale_that_also_grows_is_healthy() -> None:
    scale = 2.0 ** (15 - np.arange(STEPS) // 4)
    scale[30:] *= 2
    assert found("SD505", wiring(loss_scaled=True), gradients(loss_scale=scale)) == []


def test_the_layers_with_such_gradients_are_named() -> None:
    finding = one("SD505", *falling.broken())
    assert finding.layers[0] == "encoder/conv"
    assert finding.evidence["halvings"] == 15


def test_an_epsilon_that_float16_rounds_to_0_matters_where_weights_are_float16() -> None:
    tiny = wiring(optimizer_config={"epsilon": 1e-8})
    half = replace(dtype_row("head", "Conv2D", "float16", 145), variable="float16")
    assert found("SD507", tiny) == []
    assert one("SD507", tiny, dtypes(rows=(half,))).severity == "error"
    enough = wiring(optimizer_config={"epsilon": 1e-7})
    assert found("SD507", enough, dtypes(rows=(half,))) == []


def test_a_dead_layer_says_whether_it_still_gets_a_gradient() -> None:
    dead = rows_with(activations().rows, "encoder/relu", dead_share=1.0)
    history = gradients(zero_share=np.ones((STEPS, len(VARIABLES))))
    finding = one("SD301", activations(*dead), history)
    assert "100 % of its weights received no gradient at the last step" in finding.message
    assert one("SD301", activations(*dead)).evidence["without_gradient_at_end"] == 0.0


# SD409


@pytest.mark.parametrize(
    ("scaled", "bad", "alarms"), [(True, 0.0, 1), (True, 1.0, 0), (False, 1.0, 1)]
)
def test_steps_that_loss_scaling_leaves_out_are_no_step(
    scaled: bool, bad: float, alarms: int
) -> None:
    steps = gradients()
    steps = replace(steps, nonfinite_share=np.full_like(steps.nonfinite_share, bad))
    test = overfit(moved_share=0.0, stopped="steps")
    assert len(found("SD409", wiring(loss_scaled=scaled), steps, test)) == alarms
