"""What each rule is certain of: its edits, and none where two things could be meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from saldiag.core.findings.edit import Edit
from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import (
    DataFacts,
    Measurements,
    PlannedCallback,
    ProgramError,
    ProgramPlaces,
    RangeTest,
    Source,
    Wiring,
)
from tests.faults import sd101_single_channel_softmax as case
from tests.faults import sd102_activation_applied_twice as twice
from tests.faults import sd106_logits_taken_for_probabilities as logits
from tests.faults import sd107_head_against_loss as unfit
from tests.faults import sd108_labels_against_loss as labels
from tests.faults import sd111_bias_before_batchnorm as biased
from tests.faults import sd112_dropout_in_the_wrong_place as dropped
from tests.faults import sd207_gradient_clipped_always as clipped
from tests.faults import sd501_half_precision_output as halved
from tests.faults import sd701_learning_rate_too_high as high
from tests.faults import sd702_learning_rate_too_low as low
from tests.faults import sd711_step_swamped_by_settings as swamped
from tests.faults import sd803_learns_slowly as slow
from tests.support.judging import head, run
from tests.support.measurements import CALLS, MASK, call, data, plan, tensor

COMPILED = Source("train.py", 40)
PLACES = ProgramPlaces(compiled=COMPILED, trained=Source("train.py", 41))
CONSTANT = plan(schedule="constant")


def only(measured: Measurements, code: str) -> Finding:
    (finding,) = run(measured.with_(PLACES), code).findings
    return finding


def said(edits: tuple[Edit, ...]) -> list[tuple[str, str, object, str]]:
    return [
        (f"{edit.within}:{edit.call}" if edit.within else edit.layer or edit.call,
         edit.argument, edit.old, edit.new)
        for edit in edits
    ]  # fmt: skip


def with_wiring(measured: Measurements, **fields) -> Measurements:
    return measured.with_(replace(measured.need(Wiring), **fields))


def test_the_case_is_left_with_one_sigmoid() -> None:
    finding = only(case.broken(), "SD101")
    assert said(finding.edits) == [
        ("softmax_output", "activation", "softmax", '"sigmoid"'),
        ("Convf2", "activation", "softmax", "None"),
    ]
    assert finding.fix == 'activation="sigmoid"  # in softmax_output; activation=None in Convf2'
    assert [edit.source for edit in finding.edits] == [
        call("softmax_output", "Activation").source,
        Source("quicksal/model.py", 88),
    ]


def one_channel(*behind, **fields) -> Measurements:
    """A convolution with softmax over its one channel; by default it is the output."""
    calls = (
        *CALLS[:4],
        call("head", "Conv2D", "encoder/relu", parameters=145, activation="softmax", axis=3,
             output_shapes=(MASK,)),
        *behind,
    )  # fmt: skip
    known = Wiring(
        "m", calls, (calls[-1].path,), "mean_absolute_error", {}, "Adam", 1e-3, "float32", False,
        1, 1, **fields,
    )  # fmt: skip
    return Measurements.of(known, data())


def test_one_softmax_becomes_a_sigmoid() -> None:
    assert said(only(one_channel(), "SD101").edits) == [
        ("head", "activation", "softmax", '"sigmoid"')
    ]
    reshaped = one_channel(call("flat", "Reshape", "head"))
    assert len(only(reshaped, "SD101").edits) == 1


@pytest.mark.parametrize(
    "measured",
    [
        one_channel(call("pooled", "Multiply", "head", "encoder/relu")),  # weights of attention
        one_channel(call("after", "Dense", "head", parameters=4)),
        one_channel(computed=("head",)),
        one_channel().with_(data(targets=(tensor("y", -2.0, 3.0),))),  # no share of anything
        one_channel().with_(data(targets=())),
        with_wiring(one_channel(), loss="categorical_crossentropy"),
        with_wiring(one_channel(), loss="binary_crossentropy", loss_config={"from_logits": True}),
        one_channel(call("two", "Softmax", "head", activation="softmax", axis=3,
                         output_shapes=(MASK,))),
    ],
)  # fmt: skip
def test_a_softmax_that_may_be_meant_otherwise_gets_the_sentence(measured: Measurements) -> None:
    finding = only(measured, "SD101")
    assert finding.edits == ()
    assert finding.fix.startswith('activation="sigmoid"  # in head')


def test_the_first_of_two_equal_activations_is_removed() -> None:
    measured = twice.broken()
    first, second = (c for c in measured.need(Wiring).calls if c.activation == "sigmoid")
    assert first.kind == "Activation"
    finding = only(measured, "SD102")
    assert said(finding.edits) == [(first.layer, "activation", "sigmoid", '"linear"')]
    assert finding.fix.startswith('activation="linear"  # in ')
    other = replace(second, activation="softmax")
    calls = tuple(other if c is second else c for c in measured.need(Wiring).calls)
    assert only(with_wiring(measured, calls=calls), "SD102").edits == ()


def test_from_logits_is_set_where_the_output_is_linear() -> None:
    wanted = ("loss:BinaryCrossentropy", "from_logits", False, "True")
    measured = logits.broken()
    assert said(only(measured, "SD106").edits) == [wanted]
    assert only(measured, "SD106").edits[0].source == COMPILED
    masks = data(
        targets=(tensor("y", 0.0, 255.0),), predictions=measured.need(DataFacts).predictions
    )
    assert only(measured.with_(masks), "SD106").edits == ()
    assert run(measured, "SD106").findings[0].edits == ()  # no line that compiles is known


def test_from_logits_is_removed_where_the_output_is_squashed() -> None:
    wiring = head("sigmoid", call("flat", "Reshape", "output"), loss="binary_crossentropy",
                  loss_config={"from_logits": True})  # fmt: skip
    finding = only(case.fixed().with_(wiring), "SD102")
    assert said(finding.edits) == [("loss:BinaryCrossentropy", "from_logits", True, "False")]


def test_the_head_follows_the_loss() -> None:
    assert said(only(unfit.broken(), "SD107").edits) == [
        ("output", "activation", "relu", '"sigmoid"')
    ]
    kind = head("relu", loss="binary_crossentropy")
    kind = replace(kind, calls=(*kind.calls[:-1], replace(kind.calls[-1], kind="ReLU")))
    assert only(unfit.broken().with_(kind), "SD107").edits == ()


def test_the_loss_follows_the_head_where_the_targets_do() -> None:
    one = head("sigmoid", loss="sparse_categorical_crossentropy")
    one = replace(one, calls=(*one.calls[:-1], replace(one.calls[-1], output_shapes=(MASK,))))
    wanted = [("compile", "loss", "sparse_categorical_crossentropy", '"binary_crossentropy"')]
    assert said(only(unfit.fixed().with_(one), "SD107").edits) == wanted
    many = data(targets=(tensor("y", 0.0, 4.0),))
    assert only(unfit.fixed().with_(one, many), "SD107").edits == ()


def test_class_numbers_get_their_loss_where_they_are_plainly_some() -> None:
    softmax = head("softmax", loss="mean_squared_error")
    numbers = data(
        targets=(tensor("class", 0.0, 2.0, shape=(None, 1), distinct=3),),
        predictions=labels.PREDICTED and (labels.PREDICTED,),
    )
    measured = labels.broken().with_(softmax, numbers)
    assert said(only(measured, "SD108").edits) == [
        ("compile", "loss", "mean_squared_error", '"sparse_categorical_crossentropy"')
    ]
    assert only(labels.broken(), "SD108").edits == ()


def test_each_bias_before_batchnorm_is_removed() -> None:
    finding = only(biased.broken(), "SD111")
    assert finding.edits
    assert {edit.layer for edit in finding.edits} == set(finding.layers)
    assert {(e.argument, e.old, e.new) for e in finding.edits} == {("use_bias", True, "False")}


def test_dropout_gets_a_rate() -> None:
    finding = only(dropped.broken(), "SD112")
    assert [(e.argument, e.new) for e in finding.edits] == [("rate", "0.0")]
    assert finding.edits[0].old == finding.evidence["rate"]


def test_the_output_is_made_float32() -> None:
    finding = only(halved.broken(), "SD501")
    assert [(e.argument, e.old, e.new) for e in finding.edits] == [("dtype", None, '"float32"')]
    wiring = halved.broken().need(Wiring)
    computed = with_wiring(halved.broken(), computed=wiring.outputs)
    assert only(computed, "SD501").edits == ()


@pytest.mark.parametrize(("fault", "code"), [(high, "SD701"), (low, "SD702")])
def test_a_rate_that_is_a_number_is_changed(fault, code: str) -> None:
    measured = fault.broken().with_(CONSTANT)
    finding = only(measured, code)
    ((where, argument, old, new),) = said(finding.edits)
    wiring = measured.need(Wiring)
    assert where == f"optimizer:{wiring.optimizer}"
    assert (argument, old) == ("learning_rate", wiring.learning_rate)
    assert new in finding.fix
    assert only(measured.with_(plan()), code).edits == ()  # a schedule
    own = plan(PlannedCallback("MyRates", {}), schedule="constant")
    assert only(measured.with_(own), code).edits == ()


def test_a_slow_rate_is_changed_to_what_a_range_test_found() -> None:
    rates = 10.0 ** np.arange(-6, 0)
    test = RangeTest(rates=rates, loss=np.array([1.0, 1.0, 0.9, 0.3, 0.2, 0.2]))
    measured = with_wiring(slow.broken().with_(CONSTANT, test), learning_rate=1e-6)
    finding = only(measured, "SD803")
    ((where, argument, _, new),) = said(finding.edits)
    assert (where, argument) == ("optimizer:Adam", "learning_rate")
    assert f"(learning_rate={new})" in finding.fix


def test_settings_of_the_optimizer_get_keras_own_value() -> None:
    finding = only(swamped.broken(), "SD711")
    given = swamped.broken().need(Wiring).optimizer_config[finding.evidence["setting"]]
    ((where, argument, old, new),) = said(finding.edits)
    assert (argument, old) == (finding.evidence["setting"], given)
    assert where.startswith("optimizer:")
    assert f"{argument}={float(new)}" in finding.fix.replace("1e-7", "1e-07")


def test_a_clipping_is_raised() -> None:
    finding = only(clipped.broken(), "SD207")
    ((_, argument, old, new),) = said(finding.edits)
    assert (argument, old) == (finding.evidence["clipping"], finding.evidence["limit"])
    assert f"{argument}={new})" in finding.fix


@pytest.mark.parametrize(
    ("loss", "message", "new"),
    [
        ("categorical_crossentropy", "Arguments `target` and `output` must have the same rank "
         "(ndim). Received: target.shape=(None,), output.shape=(None, 3)",
         '"sparse_categorical_crossentropy"'),
        ("binary_crossentropy", "Arguments `target` and `output` must have the same rank "
         "(ndim). Received: target.shape=(None,), output.shape=(None, 3)", None),
        ("sparse_categorical_crossentropy", "Argument `output` must have rank (ndim) "
         "`target.ndim - 1`. Received: target.shape=(None, 3), output.shape=(None, 3)",
         '"categorical_crossentropy"'),
        ("sparse_categorical_crossentropy", "Argument `output` must have rank (ndim) "
         "`target.ndim - 1`. Received: target.shape=(None, 2), output.shape=(None, 3)", None),
    ],
)  # fmt: skip
def test_a_crash_over_labels_gets_the_other_cross_entropy(loss, message, new) -> None:
    measured = with_wiring(case.fixed(), loss=loss).with_(ProgramError("ValueError", message))
    edits = only(measured, "SD904").edits
    assert said(edits) == ([("compile", "loss", loss, new)] if new else [])
