"""Wiring rules at their edges: what must not alarm, and how findings are worded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from saldiag.core.measurement import (
    LayerCall,
    Origin,
    UncalledLayer,
)  # fmt: skip
from tests.faults import sd104_identical_branches as branches
from tests.support.judging import found, head, one, skipped
from tests.support.measurements import (
    CALLS,
    FROZEN,
    call,
    calls_with,
    data,
    flow,
    flow_row,
    loss_check,
    tensor,
    trainable,
    trainable_row,
    wiring,
)  # fmt: skip

# SD101


def softmax(**fields: Any) -> LayerCall:
    fields = {"activation": "softmax", "axis": 3, **fields}
    return call("softmax", "Softmax", "head", **fields)


@pytest.mark.parametrize(
    "last",
    [
        softmax(output_shapes=((None, 8, 8, 2),)),
        softmax(output_shapes=((None, 8, 8, None),)),
        softmax(axis=2, output_shapes=((None, 8, 8, 1),)),
        softmax(axis=None, output_shapes=((None, 8, 8, 1),), config={"axis": [1, 2]}),
        softmax(axis=None, output_shapes=()),
    ],
    ids=["two channels", "unknown", "other axis", "over places", "no output"],
)
def test_softmax_over_more_than_one_is_left_alone(last: LayerCall) -> None:
    assert found("SD101", wiring(*CALLS[:-1], last)) == []


def test_softmax_inside_attention_is_left_alone() -> None:
    attention = call("mha", "MultiHeadAttention", "head", leaf=False)
    inner = replace(softmax(output_shapes=((None, 2, 1, 1),)), layer="mha/softmax")
    assert found("SD101", wiring(*CALLS[:-1], attention, inner)) == []


def test_softmax_under_cross_entropy_mentions_that_the_loss_still_falls() -> None:
    calls = (*CALLS[:-1], softmax(output_shapes=((None, 8, 8, 1),)))
    rows = (*flow().rows[:-1], flow_row("softmax", "Softmax", 0.14, 0.22))
    message = one("SD101", wiring(*calls), flow(rows=rows)).message
    assert "the loss falls, but every prediction stays 1.0" in message
    bare = one("SD101", wiring(*calls)).message
    assert bare.startswith("softmax: softmax over an axis of size 1 is the constant 1.0. Use")


# SD102 and SD103: what Keras 3 makes good by itself


TOLD = {"from_logits": True}
RESHAPE = call("reshape", "Reshape", "output")


def test_from_logits_on_a_sigmoid_is_healed_by_keras_but_not_through_a_reshape() -> None:
    direct = head("sigmoid", loss="binary_crossentropy", loss_config=TOLD)
    behind = head("sigmoid", RESHAPE, loss="binary_crossentropy", loss_config=TOLD)
    apart = loss_check(loss="binary_crossentropy", reported=0.69, recomputed=0.93)
    assert found("SD102", direct) == []
    assert found("SD103", direct, apart) == []
    assert "from the logits before" in skipped("SD103", direct, apart)
    assert "has from_logits=True and treats the sigmoid output" in one("SD102", behind).message
    assert one("SD103", behind, apart).severity == "error"


def test_other_losses_do_not_heal() -> None:
    assert one("SD102", head("sigmoid", loss="custom:focal", loss_config=TOLD)).layers == (
        "output",
    )


def test_sigmoid_under_categorical_cross_entropy_trains_like_softmax() -> None:
    subject = head("sigmoid", loss="categorical_crossentropy")
    assert found("SD103", subject, loss_check(reported=1.2, recomputed=1.6)) == []


def test_a_gate_in_the_middle_is_not_applied_twice() -> None:
    gate = calls_with("encoder/relu", kind="Dense", activation="sigmoid", parameters=9)
    assert found("SD102", wiring(*gate)) == []


def test_masks_and_clipped_probabilities_are_no_disagreement() -> None:
    apart = loss_check(loss="binary_crossentropy", reported=300.0, recomputed=16.0)
    subject = head("custom", loss="binary_crossentropy")
    saturated = data(predictions=(tensor("output", 0.0, 1.0),))
    assert "clipped" in skipped("SD103", subject, apart, saturated)
    assert one("SD103", subject, apart).rule == "SD103", "unsaturated predictions cannot be clipped"
    masked = wiring(*calls_with("encoder/conv", config={"mask_zero": True}))
    assert "masks the loss" in skipped("SD103", masked, apart)


@pytest.mark.parametrize(
    ("reported", "recomputed", "regularization"),
    [(0.5, 0.505, 0.0), (1e-4, 5e-4, 0.0), (0.9, 0.5, 0.4), (0.0, 0.0, 0.0)],
    ids=["float16", "near zero", "regularised", "zero"],
)
def test_rounding_and_penalties_are_no_disagreement(
    reported: float, recomputed: float, regularization: float
) -> None:
    check = loss_check(reported=reported, recomputed=recomputed, regularization=regularization)
    assert found("SD103", check) == []


def test_a_loss_that_is_not_finite_cannot_be_compared() -> None:
    assert "not finite" in skipped("SD103", loss_check(reported=float("nan")))


# SD104


def test_equal_branches_that_are_added_up_are_meant() -> None:
    calls = [
        replace(c, kind="Add") if c.kind == "Concatenate" else c for c in branches._calls(3, 3)
    ]
    assert found("SD104", wiring(*calls)) == []


@pytest.mark.parametrize(("sizes", "count"), [((1,), 0), ((1, 3), 0), ((3, 3), 1), ((1, 1, 3), 0)])
def test_all_branches_must_agree(sizes: tuple[int, ...], count: int) -> None:
    assert len(found("SD104", wiring(*branches._calls(*sizes)))) == count


def test_other_layers_side_by_side_are_left_alone() -> None:
    calls = [
        replace(c, kind="Conv2D") if c.kind == "DepthwiseConv2D" else c
        for c in branches._calls(1, 1, 1)
    ]
    assert found("SD104", wiring(*calls)) == []


# SD105


def test_one_finding_for_each_aspect_and_info_where_nothing_was_copied() -> None:
    here, there = {"strides": (1, 1), "activation": "relu"}, {"strides": 2, "activation": "relu6"}
    origins = tuple(Origin(f"c{i}", "MobileNetV2", f"s{i}", False, here, there) for i in range(3))
    activation, strides = found("SD105", wiring(origins=origins))
    assert (activation.severity, strides.severity) == ("info", "info")
    assert strides.message.startswith(
        "strides differs from MobileNetV2 in 3 layers: c0 has 1, s0 of"
    )
    assert activation.layers == ("c0", "c1", "c2")
    copied = tuple(replace(origin, copied=True) for origin in origins)
    assert {f.severity for f in found("SD105", wiring(origins=copied))} == {"warning"}
    assert "is not known" in skipped("SD105")


def test_two_by_two_is_two() -> None:
    same = Origin("c", "N", "s", True, {"strides": [2, 2]}, {"strides": 2})
    assert found("SD105", wiring(origins=(same,))) == []


# SD111 and SD112


def normalised(use_bias: bool = True, **fields: Any) -> Any:
    config = {"use_bias": use_bias, "kernel_size": [3, 3]}
    calls = calls_with("encoder/conv", config=config, **fields)
    axis = {"axis": fields.get("axis", -1)}
    return tuple(replace(c, config=axis) if c.path == "encoder/norm" else c for c in calls)


def test_a_bias_is_found_only_where_batchnorm_cancels_it() -> None:
    assert one("SD111", wiring(*normalised())).severity == "info"
    also = call("skip", "Conv2D", "encoder/conv")
    for calls in (
        normalised(activation="relu"),
        normalised(trainable=False),
        (*normalised()[:3], also, *normalised()[3:]),
    ):
        assert found("SD111", wiring(*calls)) == []


def test_a_layer_norm_behind_a_bias_has_a_list_of_axes() -> None:
    calls = (
        replace(c, kind="LayerNormalization", config={"axis": [-1]}) if "norm" in c.path else c
        for c in normalised()
    )
    assert found("SD111", wiring(*calls)) == []


def dropped(rate: float, *inputs: str) -> LayerCall:
    return call("drop", "Dropout", *inputs, config={"rate": rate})


def test_dropout_on_the_output_is_seen_through_a_reshape_and_not_at_rate_0() -> None:
    reshape = call("reshape", "Reshape", "drop")
    finding = one("SD112", wiring(*CALLS, dropped(0.5, "output"), reshape))
    assert (finding.severity, finding.layers) == ("error", ("drop",))
    assert found("SD112", wiring(*CALLS, dropped(0.0, "output"))) == []


def test_dropout_on_features_is_found_above_the_threshold_and_before_batchnorm() -> None:
    def hidden(rate: float, after: str = "Conv2D") -> Any:
        return wiring(dropped(rate, ""), call("next", after, "drop"), call("out", "Dense", "next"))

    assert found("SD112", hidden(0.5)) == []
    assert one("SD112", hidden(0.8)).severity == "info"
    assert one("SD112", hidden(0.2, "BatchNormalization")).severity == "info"


# SD113


def test_layers_after_a_sigmoid_matter_only_under_a_cross_entropy() -> None:
    relu = call("again", "ReLU", "output", activation="relu")
    under = {"loss": "binary_crossentropy"}
    assert one("SD113", wiring(*CALLS, relu, **under)).severity == "warning"
    tanh = replace(relu, activation="tanh")
    assert one("SD113", wiring(*CALLS, tanh, **under)).severity == "error"
    assert found("SD113", wiring(*CALLS, tanh)) == []
    dense = replace(tanh, kind="Dense", parameters=2)
    assert found("SD113", wiring(*CALLS, dense, **under)) == []


# SD109 and SD110


def stacked(*, between: str = "Flatten", operations: Any = (), **fields: Any) -> Any:
    fields = {"output_shapes": ((None, 16),), "input_shapes": ((None, 8),), **fields}
    return wiring(
        call("first", "Dense", "", parameters=144, **fields),
        call("between", between, "first"),
        call("last", "Dense", "between", parameters=17, output_shapes=((None, 12),)),
        operations=operations,
    )


def test_layers_without_an_activation_between_them_are_one_layer() -> None:
    assert one("SD109", stacked()).layers == ("first", "last")
    assert one("SD109", stacked(between="BatchNormalization")).severity == "warning"


@pytest.mark.parametrize(
    "well",
    [
        stacked(activation="tanh"),
        stacked(between="MaxPooling2D"),
        stacked(between="Custom"),
        stacked(operations=("Sin",)),
        stacked(output_shapes=((None, 4),)),
        stacked(trainable=False),
    ],
    ids=["tanh", "maximum", "unknown layer", "sine", "narrow", "frozen"],
)
def test_layers_that_may_be_nonlinear_are_not_found(well: Any) -> None:
    assert found("SD109", well) == []


def test_without_the_operations_a_network_is_not_called_linear() -> None:
    assert "not listed" in skipped("SD109", wiring())


UNCALLED = UncalledLayer("spare", ("Dense",), trainable=True, built=False, parameters=0)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 1),
        ({"kinds": ("Block", "Dense")}, 1),
        ({"built": True, "parameters": 9}, 1),
        ({"kinds": ("RandomFlip",)}, 0),
        ({"built": True}, 0),
        ({"trainable": False}, 0),
        ({"path": "head"}, 0),
    ],
    ids=["unbuilt", "block", "built", "augmentation", "no weights", "frozen", "with a gradient"],
)
def test_a_layer_that_is_never_called(fields: dict[str, Any], count: int) -> None:
    layers = (replace(UNCALLED, **fields),)
    assert len(found("SD110", wiring(uncalled=layers))) == count
    assert "own training step" in skipped("SD110", wiring(uncalled=layers, own_training=True))


def test_a_layer_whose_output_nobody_uses() -> None:
    spare = call("spare", "Dense", "encoder/relu", parameters=272)
    calls = (*CALLS[:4], spare, *CALLS[4:])
    norms = {"head/kernel": 0.1, "spare/kernel": None}
    assert one("SD110", wiring(*calls), flow(norms)).layers == ("spare",)
    assert found("SD110", wiring(*calls), flow({**norms, "spare/kernel": 0.0})) == []


def test_a_target_network_that_only_a_loss_reads_is_in_use() -> None:
    target = call("target", "Dense", "", parameters=272)
    over = call("over", "Dense", "target", parameters=272)
    read = wiring(*CALLS[:4], target, over, *CALLS[4:], in_losses=("over", "encoder/relu"))
    norms = {"head/kernel": 0.1, "over/kernel": None, "target/kernel": None}
    assert found("SD110", read, flow(norms)) == []
    assert found("SD110", replace(read, in_losses=()), flow(norms)) != []
    row = trainable_row("over/kernel", has_gradient=False)
    starved = trainable(row, trainable_row("head/kernel"))
    note = one("SD402", read, starved)
    assert (note.severity, "Freeze a target network" in note.message) == ("info", True)
    assert one("SD402", replace(read, in_losses=()), starved).severity == "warning"
    frozen = trainable(trainable_row("target/kernel", **{**FROZEN, "start_distance": 0.5}))
    assert found("SD403", read, frozen) == []
    assert found("SD403", replace(read, in_losses=()), frozen) != []


# SD107 and SD108


def binary(activation: str, told: bool = False) -> Any:
    return head(activation, loss="binary_crossentropy", loss_config={"from_logits": told})


@pytest.mark.parametrize(
    "well",
    [
        head("sigmoid", loss="categorical_crossentropy"),
        head("sigmoid", loss="categorical_crossentropy", loss_config=TOLD),
        binary("sigmoid", told=True),
        binary("hard_sigmoid"),
        binary("users_own"),
        head("relu", loss="sparse_categorical_crossentropy", loss_config=TOLD),
        head("relu", loss="mean_squared_error"),
        head("tanh", loss="mean_squared_error"),
        head("relu", loss="custom:dice"),
    ],
)
def test_heads_that_a_loss_can_work_with(well: Any) -> None:
    wide = replace(well.calls[-1], output_shapes=((None, 8, 8, 3),))
    assert found("SD107", replace(well, calls=(*well.calls[:-1], wide))) == []


def test_logits_must_not_be_confined() -> None:
    assert "to 0 and above" in one("SD107", binary("relu", told=True)).message
    assert "to [-1, 1]" in one("SD107", binary("tanh", told=True)).message


@pytest.mark.parametrize(
    ("loss", "mean", "severity"),
    [
        ("mean_squared_error", 0.25, None),
        ("mean_squared_error", 0.5, "error"),
        ("binary_crossentropy", 0.25, "warning"),
        ("binary_crossentropy", 0.5, "error"),
        ("custom:dice", 0.5, None),
    ],
)
def test_softmax_wants_targets_that_sum_up_to_1(loss: str, mean: float, severity: Any) -> None:
    last = call("output", "Dense", "encoder/relu", activation="softmax", axis=1,
                output_shapes=((None, 4),))  # fmt: skip
    labels = data(targets=(tensor("labels", 0.0, 1.0, shape=(None, 4), mean=mean),))
    findings = found("SD107", wiring(*CALLS[:4], last, loss=loss), labels)
    assert [finding.severity for finding in findings] == [severity] * bool(severity)


@pytest.mark.parametrize(
    ("target", "predicted", "count"),
    [
        ((None,), (None, 1), 0),
        ((None, 1), (None,), 0),
        ((None, 3), (None, 3, 1), 0),
        ((None, None, 1), (None, 5, 3), 0),
        ((None, 1), (None, 3), 1),
        ((None, 3), (None, 1), 1),
        ((None, 1), (None, 6, 1), 1),
        ((None, 8, 8, 1), (None, 8, 8, 3), 1),
    ],
)
def test_shapes_that_are_stretched(target: Any, predicted: Any, count: int) -> None:
    facts = data(
        targets=(tensor("y", 0.0, 1.0, shape=target),),
        predictions=(tensor("output", 0.0, 1.0, shape=predicted),),
    )
    assert len(found("SD108", wiring(loss="mean_squared_error"), facts)) == count
    assert found("SD108", wiring(loss="custom:pinball"), facts) == []


def test_a_loss_that_ignores_whose_target_it_is() -> None:
    column = (tensor("output", 0.2, 0.8, shape=(None, 1)),)
    flat = data(targets=(tensor("y", 0.0, 1.0, shape=(None,)),), predictions=column)
    own = wiring(loss="custom:Squares")
    same = loss_check(loss="custom:Squares", in_order=1.25, rolled=1.2500001)
    assert "with all targets" in one("SD108", own, flat, same).message
    assert found("SD108", own, flat, replace(same, rolled=1.26)) == []
    assert found("SD108", wiring(loss="sparse_categorical_crossentropy"), flat, same) == []
    for shape, low in (((None, 1), 0.799), ((None, 3), 0.2)):
        others = (tensor("output", low, 0.8, shape=shape),)
        assert found("SD108", own, replace(flat, predictions=others), same) == []


def test_an_activation_after_a_softmax_is_found_once() -> None:
    tanh = call("again", "Activation", "output", activation="tanh")
    assert found("SD107", wiring(*CALLS, tanh, loss="binary_crossentropy")) == []


# SD114


def narrow(units: int = 1, classes: int = 3, *others: str, **fields: Any) -> Any:
    fields = {"input_shapes": ((None, 16),), "output_shapes": ((None, units),), **fields}
    return wiring(
        call("side", "Dense", ""),
        call("hidden", "Dense", "", **fields),
        call("answer", "Dense", "hidden", *others, activation="softmax", axis=1,
             output_shapes=((None, classes),)),
        loss="categorical_crossentropy",
    )  # fmt: skip


def test_one_output_unit_fits_two_classes_only() -> None:
    assert one("SD114", narrow()).layers == ("hidden",)
    wells = [
        narrow(2),
        narrow(1, 2),
        narrow(1, 3, "side"),
        narrow(input_shapes=((None, 1),)),
        narrow(output_shapes=((None, None, 1),)),
        replace(narrow(), loss="mae"),
    ]
    for well in wells:
        assert found("SD114", well) == []
