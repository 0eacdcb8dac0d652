"""A model with different losses for its outputs is judged once for each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saldiag.core.measurement import OutputLoss, ProgramError
from saldiag.rules.engine.per_loss import by_loss
from tests.support.judging import found, skipped
from tests.support.measurements import CALLS, call, data, tensor, wiring

VALUE = call("value", "Dense", "body", activation=None)
KIND = call("kind", "Dense", "body", activation="softmax", output_shapes=((None, 3),))
LOSSES = (
    OutputLoss("mean_squared_error", {}, ("value",), (0,)),
    OutputLoss("sparse_categorical_crossentropy", {"from_logits": False}, ("kind",), (1,)),
)
TARGETS = (tensor("target 0", -2.0, 2.0), tensor("target 1", 0.0, 2.0))
PREDICTIONS = (tensor("prediction 0", -3.0, 3.0), tensor("prediction 1", 0.1, 0.8))


def two(kind=None, value=None, losses=LOSSES, **fields):
    calls = (*CALLS[:-2], replace(VALUE, activation=value), replace(KIND, activation=kind))
    return wiring(
        *calls, loss="+".join(each.loss for each in losses), loss_config={}, losses=losses,
        outputs=("value", "kind"), judged=("value", "kind"), **fields,
    )  # fmt: skip


def facts(**fields):
    return data(targets=TARGETS, predictions=PREDICTIONS, **fields)


@pytest.mark.parametrize(
    ("code", "kind", "value"), [("SD107", "relu", None), ("SD602", "softmax", "sigmoid")]
)
def test_a_fault_of_one_output_names_that_output(code, kind, value):
    (finding,) = found(code, two(kind, value), facts())
    assert finding.layers == (("kind",) if code == "SD107" else ("value",))
    assert not found(code, two("softmax"), facts())


def test_logits_are_found_at_the_output_whose_loss_takes_probabilities():
    outside = replace(facts(), predictions=(PREDICTIONS[0], tensor("prediction 1", -4.0, 5.0)))
    (finding,) = found("SD106", two(), outside)
    assert finding.layers == ("kind",)
    assert finding.edits == ()  # which of the losses to change, no line tells


def test_one_loss_that_cannot_be_judged_does_not_hide_the_other():
    fewer = replace(facts(), targets=TARGETS[:1])
    assert "cannot be paired" in skipped("SD108", two("softmax"), fewer)
    assert found("SD107", two("relu"), fewer)


def test_an_error_that_keras_raises_is_reported_once():
    message = (
        "Arguments `target` and `output` must have the same rank (ndim). "
        "Received: target.shape=(None,), output.shape=(None, 3)"
    )
    error = ProgramError("ValueError", message, during="training")
    (finding,) = found("SD108", two("softmax"), facts(), error)
    assert finding.message.startswith("mean_squared_error+sparse_categorical_crossentropy rejects")


def test_targets_and_predictions_go_with_their_loss():
    from tests.support.measurements import healthy

    measured = healthy(two("softmax"), facts())
    names = [[t.name for t in part.found["data"].targets] for part in by_loss(measured)]
    assert names == [["target 0"], ["target 1"]]
    assert len(by_loss(healthy())) == 1
