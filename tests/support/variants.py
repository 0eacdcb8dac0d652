"""Measurements that bring out the texts of a rule which its fault in ``tests/faults`` does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from saldiag.core.measurement import (
    Correction,
    InputComparison,
    MaskGreys,
    MaskPairing,
    Measurements,
    ValidationCheck,
)
from tests.support.measurements import (
    CALLS,
    IMAGE,
    MASK,
    STEPS,
    VARIABLES,
    activation_row,
    activations,
    call,
    calls_with,
    course,
    data,
    flow,
    flow_row,
    gradients,
    healthy,
    items,
    overfit,
    rows_with,
    stuck,
    tensor,
    validation,
    wiring,
)


def softmax_with_rounded_gradient() -> Measurements:
    head = call("output", "Activation", "head", activation="softmax", axis=1, output_shapes=(MASK,))
    rows = tuple(flow_row(c.path, c.kind, 0.4, 2e-8) for c in CALLS if c.leaf)
    return healthy(wiring(*CALLS[:-1], replace(head, axis=3)), flow(rows=rows), stuck())


def targets_outside_probabilities() -> Measurements:
    levels = data(targets=(tensor("mask", 0.0, 3.0, distinct=4),))
    logits = wiring(*CALLS[:-1], loss="binary_crossentropy", loss_config={"from_logits": True})
    predicted = data(targets=levels.targets, predictions=(tensor("head", -4.0, 3.0),))
    return healthy(logits, predicted, stuck(2.0))


def few_steps_of_a_clipped_gradient() -> Measurements:
    few = {name: getattr(gradients(), name)[:3] for name in _BY_STEP}
    optimizer = {"optimizer": "SGD", "optimizer_config": {"global_clipnorm": 1e-6}}
    return healthy(wiring(**optimizer), gradients(**few))


_BY_STEP = (
    "steps", "norm", "mean", "maximum", "zero_share", "nonfinite_share", "update_ratio",
    "weight_norm", "loss_scale", "loss",
)  # fmt: skip


def two_saturated_layers() -> Measurements:
    tanh = {"kind": "Activation", "activation": "tanh"}
    calls = list(calls_with("encoder/relu", **tanh))
    calls.insert(4, call("second", "Activation", "encoder/relu", activation="tanh"))
    calls[5] = replace(calls[5], inputs=("second",))
    held = {**tanh, "minimum": -1.0, "maximum": 1.0, "saturated_share": 0.98}
    rows = rows_with(activations().rows, "encoder/relu", **held)
    return healthy(wiring(*calls), activations(*rows, activation_row("second", **held)), stuck())


def batch_statistics_in_inference() -> Measurements:
    check = validation(
        0.04, company_difference=0.3, active=("encoder/norm",), single=0.06, averaged=0.04
    )
    return healthy(course(None, np.full(10, 0.3)), check)


def few_steps_of_a_loss_scale() -> Measurements:
    few = {name: getattr(gradients(), name)[:3] for name in _BY_STEP}
    return healthy(wiring(precision="mixed_float16", loss_scaled=True), gradients(**few))


def inputs_alike() -> Measurements:
    alike = tensor("image", 0.0, 1.0, shape=IMAGE, sample_variation=0.0)
    return healthy(data(inputs=(alike,)), stuck(0.25))


def few_masks() -> Measurements:
    return healthy(items(pairing=MaskPairing(4, 0.8, 0.01, 0.2)))


def repeated_items() -> Measurements:
    return healthy(items(shared=20, repeated=200, values=3.0))


def short_data() -> Measurements:
    return healthy(items(batches=20, steps_per_epoch=100))


def masks_kept_as_jpeg() -> Measurements:
    return healthy(items(greys=MaskGreys(64, 0.024, 0.1, 0.9)))


def pictures_scaled_twice() -> Measurements:
    return healthy(data(inputs=(tensor("image", 0.0, 1 / 255, shape=IMAGE),)))


def pictures_in_the_upper_half() -> Measurements:
    upper = tensor("image", 0.0, 1.0, shape=IMAGE)
    return healthy(data(inputs=(upper,), samples=64, expected_range=(-1.0, 1.0)))


def _compared(name: str, **fields: object) -> InputComparison:
    same = InputComparison(
        name, (8, 8, 3), (8, 8, 3), (0.5,) * 3, (0.25,) * 3, (127.0,) * 3, (64.0,) * 3
    )
    return replace(same, **fields)


def a_named_input_in_bytes() -> Measurements:
    changes = (Correction("inputs", "x / 255", 0.04, "image"),)
    check = validation(0.4, 0.4, inputs=(_compared("image"),), corrections=changes)
    return healthy(course(None, np.full(10, 0.4)), check)


def a_named_input_of_other_statistics() -> Measurements:
    check = validation(0.4, 0.4, inputs=(_compared("image"),))
    return healthy(course(None, np.full(10, 0.4)), check)


def an_input_of_another_shape() -> Measurements:
    check = validation(0.4, 0.4, inputs=(_compared("", validation_shape=(16, 16, 3)),))
    return healthy(course(None, np.full(10, 0.4)), check)


def renamed_classes() -> Measurements:
    check = validation(0.4, 0.4, accuracy=0.1, mapped_accuracy=0.95, mapping=((0, 1), (1, 0)))
    return healthy(course(None, np.full(10, 0.4)), check)


def targets_of_other_items() -> Measurements:
    check = validation(0.4, 0.4, paired_with_own=0.02, paired_with_other=0.9)
    return healthy(course(None, np.full(10, 0.4)), check)


def a_step_up_the_gradient() -> Measurements:
    rising = 0.05 * np.exp(0.06 * np.arange(STEPS + 1))
    ratios = np.full((STEPS, len(VARIABLES)), 1e-4)
    return healthy(
        wiring(own_training=True), gradients(update_ratio=ratios), overfit(rising, stopped="steps")
    )


def a_metric_at_rest() -> Measurements:
    zero = np.zeros(10)
    return healthy(course(None, None, accuracy=zero, val_accuracy=zero))


def a_score_at_rest() -> Measurements:
    return healthy(course(None, None, accuracy=np.zeros(10)))


def statistics_of_few_samples() -> Measurements:
    lagging = np.array([0.52, 0.45, 0.42, 0.4])
    test = overfit(
        checked=np.array([0, 20, 40, 60]), training_error=np.array([0.52, 0.063, 0.017, 0.01]),
        inference_error=lagging, recalibrated_error=0.12, baseline_independent=0.1,
    )  # fmt: skip
    return healthy(test)


def overfitted_from_the_start() -> Measurements:
    return healthy(course(None, np.linspace(0.34, 0.32, 10)), validation(0.32, 0.32, 0.01))


def validation_never_checked() -> Measurements:
    unchecked = {ValidationCheck: "the training was too short to check its validation"}
    held = healthy(course(None, np.full(10, 0.3)))
    kept = [found for kind, found in held.found.items() if found.key != ValidationCheck.key]
    return Measurements.of(*kept, missing={ValidationCheck.key: unchecked[ValidationCheck]})


def nothing_certain_in_validation() -> Measurements:
    errors = 0.07 + 0.2 * np.sin(np.arange(32))
    check = validation(
        0.07, 0.07, item_errors=errors, reestimated_item_errors=errors, validated=10_000,
        corrections=(Correction("inputs", "x / 255", 0.2), Correction("targets", "1 - y", 0.9)),
    )  # fmt: skip
    return healthy(course(None, np.full(10, 0.3)), check)


VARIANTS: tuple[Callable[[], Measurements], ...] = (
    softmax_with_rounded_gradient, targets_outside_probabilities, few_steps_of_a_clipped_gradient,
    two_saturated_layers, batch_statistics_in_inference, few_steps_of_a_loss_scale, inputs_alike,
    few_masks, repeated_items, short_data, masks_kept_as_jpeg, pictures_scaled_twice,
    pictures_in_the_upper_half, a_named_input_in_bytes, a_named_input_of_other_statistics,
    an_input_of_another_shape, renamed_classes, targets_of_other_items, a_step_up_the_gradient,
    a_metric_at_rest, a_score_at_rest, statistics_of_few_samples, overfitted_from_the_start,
    validation_never_checked, nothing_certain_in_validation,
)  # fmt: skip
