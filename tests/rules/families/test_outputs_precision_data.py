"""Rules of outputs, precision, data and outcome at their edges: what must not alarm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from saldiag.core.findings.finding import Finding
from saldiag.core.measurement import (
    LayerCall,
    NormalizationRow,
    OverfitHistory,
    RecordedWarning,
    Source,
    TrainableStatus,
    WarningLog,
    WrappedIntegers,
)  # fmt: skip
from tests.support.judging import found, head, one, run, skipped
from tests.support.measurements import (
    FROZEN,
    activation_row,
    activations,
    call,
    data,
    dtype_row,
    dtypes,
    healthy,
    loss_check,
    overfit,
    rows_with,
    stuck,
    tensor,
    trainable,
    trainable_row,
    wiring,
)  # fmt: skip

# SD301, SD302


@pytest.mark.parametrize(("share", "severity"), [(1.0, "error"), (0.95, "warning"), (0.8, None)])
def test_some_living_units_are_a_warning(share: float, severity: str | None) -> None:
    rows = rows_with(activations().rows, "encoder/relu", dead_share=share)
    assert [f.severity for f in found("SD301", activations(*rows))] == [severity] * bool(severity)


def test_two_samples_do_not_tell_dead_from_quiet() -> None:
    assert "2 samples" in skipped("SD301", activations(batch_size=2))


def test_zeros_of_other_layers_are_no_dead_relu() -> None:
    row = activation_row("mask", kind="Embedding", dead_share=1.0)
    assert found("SD301", activations(row)) == []


CONSTANT = data(predictions=(tensor("output", 0.5, 0.5),))


def test_a_constant_before_training_is_a_warning() -> None:
    measured = healthy(CONSTANT).without(OverfitHistory, "not run")
    (finding,) = run(measured, "SD302").findings
    assert (finding.severity, finding.confidence) == ("warning", 0.7)


def test_a_head_that_starts_at_zero_and_learns_is_not_constant() -> None:
    assert found("SD302", CONSTANT, overfit()) == []


def test_a_model_that_learns_and_whose_batchnorm_lags_is_not_constant() -> None:
    late = overfit(prediction_variation=0.0, inference_error=np.full(len(overfit().checked), 0.9))
    assert found("SD302", CONSTANT, late) == []
    stays = replace(late, recalibrated_error=0.9, loss=np.full(400, 0.5))
    assert one("SD302", CONSTANT, stays).severity == "error"


@pytest.mark.parametrize(("steps", "count"), [(8, 0), (400, 1)])
def test_too_few_steps_for_batchnorm_tell_no_constant(steps: int, count: int) -> None:
    short = stuck(prediction_variation=0.0, loss=np.full(steps, 0.5))
    assert len(found("SD302", CONSTANT, short)) == count


def test_equal_targets_or_inputs_excuse_a_constant() -> None:
    gone = overfit(prediction_variation=0.0)
    same = tensor("mask", 0.0, 1.0, sample_variation=0.0)
    assert found("SD302", replace(CONSTANT, targets=(same,)), gone) == []
    same = tensor("image", -1.0, 1.0, sample_variation=0.0)
    assert found("SD302", replace(CONSTANT, inputs=(same,)), gone) == []


def test_the_first_constant_layer_is_named() -> None:
    rows = activations().rows
    for path in ("encoder/relu", "head", "output"):
        rows = rows_with(rows, path, sample_variation=0.0)
    finding = one("SD302", CONSTANT, overfit(prediction_variation=0.0), activations(*rows))
    assert finding.layers == ("encoder/relu",)


# SD402, SD405


def test_frozen_before_it_was_built_is_meant() -> None:
    """Keras hands ``trainable = False`` on only to layers that exist already."""
    hidden = {**FROZEN, "layer_flag": True, "parents_flag": False}
    rows = (trainable_row(f"encoder/c{i}/kernel", **hidden) for i in range(3))
    assert found("SD402", trainable(*rows, trainable_row("head/kernel"))) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"has_gradient": False}, "without a gradient"),
        ({"has_gradient": False, "watched": False}, "freeze it afterwards"),
        ({"in_optimizer": False}, "unknown to the optimizer"),
        ({"has_gradient": None, "in_optimizer": None, "changed": None}, None),
        ({"changed": False}, None),
        ({"variable_flag": False, "in_model": False, "has_gradient": False}, None),
    ],
)
def test_why_it_does_not_train(fields: dict[str, Any], words: str | None) -> None:
    rows = (trainable_row("a/kernel", **fields), trainable_row("head/kernel"))
    messages = [f.message for f in found("SD402", trainable(*rows))]
    assert len(messages) == bool(words)
    assert all(words in message for message in messages if words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (NormalizationRow("n", False, True, 0.99, False), "frozen, but normalising with batch"),
        (NormalizationRow("n", True, False, 0.99, True), "which has no effect"),
        (NormalizationRow("n", True, False, 0.99, False), None),  # fine-tuning, as Keras advises
        (NormalizationRow("n", False, False, 0.99, False), None),
        (NormalizationRow("n", True, None, 0.99, True), None),
    ],
)
def test_modes_of_batchnorm(row: NormalizationRow, words: str | None) -> None:
    messages = [f.message for f in found("SD405", trainable(normalization=(row,)))]
    assert len(messages) == bool(words)
    assert all(words in message for message in messages if words)


@pytest.mark.parametrize(
    ("fields", "alarm"),
    [({}, True), ({"size": 99}, False), ({"start_distance": float("nan")}, False),
     ({"in_model": True}, False), ({"start_distance": 1.7}, False)],
)  # fmt: skip
def test_what_counts_as_a_random_start(fields: dict[str, Any], alarm: bool) -> None:
    row = trainable_row("encoder/conv/kernel", **{**FROZEN, "start_distance": 0.8, **fields})
    status = trainable(row, normalization=())
    assert [f.confidence for f in found("SD403", status)] == [0.7] * alarm


# SD501, SD502, SD503


def test_a_loss_in_half_precision_counts_by_itself() -> None:
    assert "loss is computed in float16" in one("SD501", dtypes(loss_dtype="float16")).message
    assert found("SD501", dtypes(loss_dtype=None)) == []


def test_without_an_optimizer_there_is_no_loss_to_scale() -> None:
    half = dtypes(policy="mixed_float16", rows=(dtype_row("head", "Conv2D", "float16", 9),))
    assert "not compiled" in skipped("SD502", half, wiring(optimizer=""))
    assert one("SD502", half).layers == ("head",)
    wide = dtypes(policy="mixed_bfloat16", rows=(dtype_row("head", "Conv2D", "bfloat16", 9),))
    assert found("SD502", wide) == [], "bfloat16 has float32's range"


def test_float32_islands_are_listed_with_their_bytes() -> None:
    rows = [dtype_row(f"c{i}", "Conv2D", "bfloat16", 9) for i in range(20)]
    rows[10] = dtype_row("island", "Activation", "float32")
    finding = one("SD503", dtypes(policy="mixed_bfloat16", rows=tuple(rows)))
    assert (finding.severity, finding.layers) == ("info", ("island",))
    norm = [*rows[:10], dtype_row("norm", "LayerNormalization", "float32", 8), *rows[11:]]
    assert found("SD503", dtypes(policy="mixed_bfloat16", rows=tuple(norm))) == []


# SD601, SD602


def raw(*calls: LayerCall, **image: Any) -> list[Finding]:
    picture = tensor("image", 0.0, 255.0, **{"shape": (None, 8, 8, 3), **image})
    return found("SD601", wiring(*calls), data(inputs=(picture,)))


CONV = call("conv", "Conv2D", "", parameters=9, activation="relu")


def test_pictures_of_0_to_255_are_found_unless_a_layer_normalises_them() -> None:
    (finding,) = raw(CONV)
    assert finding.fix == "x = keras.layers.Rescaling(scale=0.00784, offset=-1)(x)"
    for first in ("Rescaling", "Normalization", "BatchNormalization"):
        assert raw(call("first", first, ""), replace(CONV, inputs=("first",))) == []
    linear = replace(CONV, activation=None)
    assert raw(linear, call("norm", "BatchNormalization", "conv")) == []
    pad = call("pad", "ZeroPadding2D", "")
    padded = replace(linear, inputs=("pad",))
    assert raw(pad, padded, call("norm", "BatchNormalization", "conv")) == []
    assert len(raw(pad, replace(CONV, inputs=("pad",)))) == 1
    assert (
        len(raw(linear, call("dense", "Dense", "conv"), call("n", "BatchNormalization", "dense")))
        == 1
    )


def test_a_model_that_scales_its_input_by_itself_is_left_alone() -> None:
    picture = data(inputs=(tensor("image", 0.0, 255.0, shape=(None, 8, 8, 3)),))
    assert found("SD601", wiring(CONV, on_input=("RealDiv",)), picture) == []
    assert len(found("SD601", wiring(CONV, on_input=("Identity",)), picture)) == 1
    scaling = wiring(call("scale", "Lambda", ""), replace(CONV, inputs=("scale",)))
    small, large = (activations(activation_row("scale", mean=mean)) for mean in (0.5, 128.0))
    assert found("SD601", scaling, picture, small) == []
    assert len(found("SD601", scaling, picture, large)) == 1


def test_bytes_are_pixels_and_other_integers_are_codes() -> None:
    assert len(raw(CONV, dtype="uint8")) == 1
    assert raw(CONV, dtype="int32") == []
    assert raw(CONV, dtype="uint8", shape=(None, 40)) == []


def test_reasonable_tables_are_left_alone() -> None:
    assert raw(CONV, mean=4.0, std=9.0) == []


@pytest.mark.parametrize(
    ("low", "high", "alarm"),
    [(-1, 1, False), (0, 1, False), (-1.1, 1.05, False), (0, 255, True), (-1, -0.99, True),
     (-2.1, 2.6, True)],
)  # fmt: skip
def test_the_encoders_range_is_compared(low: float, high: float, alarm: bool) -> None:
    facts = data(inputs=(tensor("image", low, high),), expected_range=(-1.0, 1.0))
    assert len(found("SD601", facts)) == alarm


@pytest.mark.parametrize(
    ("activation", "low", "high", "alarm"),
    [("sigmoid", -1, 1, True), ("tanh", -1, 1, False), ("relu", -5, 9, True),
     ("relu", 0, 900, False), (None, -9, 9, False), ("sigmoid", 0, 1.005, False),
     ("gelu", -9, 9, False)],
)  # fmt: skip
def test_targets_in_reach(activation: str | None, low: float, high: float, alarm: bool) -> None:
    facts = data(targets=(tensor("y", low, high),))
    assert len(found("SD602", head(activation), facts)) == alarm


def test_class_numbers_and_hinges_are_no_values() -> None:
    facts = data(targets=(tensor("y", 0, 9),))
    assert found("SD602", head("softmax", loss="sparse_categorical_crossentropy"), facts) == []
    facts = data(targets=(tensor("y", -1, 1),))
    assert found("SD602", head("sigmoid", loss="hinge"), facts) == []
    assert "cannot be paired" in skipped("SD602", data(targets=()))


@pytest.mark.parametrize(
    ("distinct", "single", "alarm"), [(33, True, 0), (2, True, 1), (33, False, 1)]
)
def test_advantages_of_actions_are_weights(distinct: int, single: bool, alarm: int) -> None:
    facts = data(targets=(tensor("y", -2, 3, distinct=distinct, single=single),))
    policy = head("softmax", loss="categorical_crossentropy")
    assert len(found("SD602", policy, facts)) == alarm
    negative = loss_check(at_targets=0.0, against_targets=-0.05, around_targets=(-0.1, -0.1))
    assert len(found("SD707", policy, facts, negative, stuck(-1.0))) == alarm


# SD802, SD901


def lagging(**fields: Any) -> OverfitHistory:
    return overfit(**{
        "checked": np.array([0, 60]), "training_error": np.array([0.52, 0.010]),
        "inference_error": np.array([0.52, 0.156]), "recalibrated_error": 0.012, **fields,
    })  # fmt: skip


def test_lagging_batchnorm_is_found_with_the_steps_it_needs() -> None:
    finding = one("SD802", lagging())
    assert finding.severity == "info"
    assert "contain 0.547 of their initial values; 459 steps reduce" in finding.message


def test_a_lag_that_statistics_do_not_explain_is_a_warning() -> None:
    assert one("SD802", lagging(recalibrated_error=0.15)).severity == "warning"
    early = one("SD802", lagging(recalibrated_error=0.15, loss=np.full(8, 0.5)))
    assert early.severity == "info"
    assert "still contain 0.923 of their initial values" in early.message
    poor = one("SD802", lagging(recalibrated_error=0.5))
    assert poor.severity == "info", "worse than what it is to replace"
    unknown = one("SD802", lagging(recalibrated_error=float("nan")))
    assert (unknown.severity, unknown.confidence) == ("warning", 0.6)


def test_modes_that_differ_without_learning_are_no_lag() -> None:
    assert found("SD802", lagging(training_error=np.array([0.01, 0.02]))) == []
    assert found("SD802", lagging(inference_error=np.array([0.5, 0.025]))) == []
    empty = np.array([])
    assert "before both modes" in skipped(
        "SD802", lagging(checked=empty, training_error=empty, inference_error=empty)
    )


def test_hostile_warnings_stay_on_one_line() -> None:
    text = "evil\x1b[31m\nsecond line " + "x" * 500
    log = WarningLog((RecordedWarning("UserWarning", text, "f.py", 1, True),))
    message = one("SD901", log).message
    assert message.isprintable()
    assert len(message) < 400


def test_a_warning_filter_without_silenced_warnings_is_an_info() -> None:
    here = Source("project/quiet.py", 3)
    noted = one("SD901", WarningLog((), (here,)))
    assert (noted.severity, noted.source) == ("info", here)
    hidden = RecordedWarning("UserWarning", "softmax", "f.py", 1, True, silenced_by=here)
    assert one("SD901", WarningLog((hidden,), (here,))).severity == "warning"


def test_only_trainable_needs_statistics() -> None:
    measured = healthy().without(TrainableStatus, "no step was taken")
    (entry,) = run(measured, "SD402").skipped
    assert entry.reason == "no step was taken"


# SD613


def test_wholly_constant_or_small_tables_name_no_columns() -> None:
    table = tensor("table", 0.0, 1.0, shape=(None, 3), constant=(0, 2))
    assert one("SD613", data(inputs=(table,), samples=16)).severity == "info"
    assert "at least 16 samples" in skipped("SD613", data(inputs=(table,), samples=15))
    whole = replace(table, constant=(0, 1, 2))
    assert found("SD613", data(inputs=(whole,), samples=16)) == []


# SD506


def test_integer_results_that_lose_all_values_are_named() -> None:
    flat = WrappedIntegers("scale", "scale", "FloorDiv", "uint8", 1.0, flat=True)
    finding = one("SD506", dtypes(wrapped=(flat,)), stuck())
    assert "the information is lost" in finding.message
    assert (finding.layers, finding.severity) == (("scale",), "warning")
    assert one("SD506", dtypes(wrapped=(flat,)), overfit()).severity == "info"  # it learns
