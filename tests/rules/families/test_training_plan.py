"""Rules of the training plan and of the loss at their edges: what must not alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saldiag.core.measurement import GradientHistory, PlannedCallback
from tests.support.judging import found, one, skipped
from tests.support.measurements import (
    STEPS,
    VARIABLES,
    activations,
    calls_with,
    gradients,
    items,
    loss_check,
    overfit,
    plan,
    stopping,
    stuck,
    wiring,
)

AT = np.linspace(0, 50, 200)


def _triangle(epochs_up: float) -> np.ndarray:
    return 1e-4 + 9e-4 * (1 - np.abs(np.mod(AT / epochs_up, 2) - 1))


def _cyclic(*callbacks: PlannedCallback, up: float = 8.0) -> Any:
    rates = _triangle(up)
    return plan(
        *callbacks, schedule="TriangularCyclicalLearningRate", epochs=50, at=AT, rates=rates
    )


# SD706


@pytest.mark.parametrize(
    ("rates", "severity"),
    [
        (np.full(20, 1e-3), None),
        (np.geomspace(1e-1, 1e-4, 20), None),
        (np.append(np.full(8, 1.0), np.zeros(12)), "warning"),
        (np.append(np.full(1, 1.0), np.zeros(19)), "error"),
        (np.append(np.zeros(15), np.full(5, 1.0)), None),  # a long start at 0 ends
        (np.zeros(20), "error"),
    ],
)
def test_how_much_of_the_training_is_at_zero(rates: np.ndarray, severity: str | None) -> None:
    peak = float(rates.max())
    assert [f.severity for f in found("SD706", plan(rates=rates, peak=peak))] == (
        [severity] if severity else []
    )


def test_a_warm_up_longer_than_the_training() -> None:
    rising = np.linspace(0, 1e-5, 20)
    assert "1 % of its peak" in one("SD706", plan(rates=rising, peak=1e-3)).message
    assert found("SD706", plan(rates=rising, peak=float("nan"))) == []  # a range test


def test_the_length_of_the_training_has_to_be_known() -> None:
    assert "length" in skipped("SD706", plan(rates=np.zeros(0), at=np.zeros(0)))
    assert found("SD706", plan(schedule="constant", rates=np.zeros(0))) == []


# SD709


def test_patience_within_a_cycle_is_a_note() -> None:
    finding = one("SD709", _cyclic(stopping(patience=10)))
    assert finding.severity == "info"
    assert finding.evidence["cycle_epochs"] == pytest.approx(16, abs=0.5)
    assert found("SD709", _cyclic(stopping(patience=17))) == []
    assert found("SD709", _cyclic(stopping(patience=7, start_from_epoch=10))) == []
    assert found("SD709", plan(stopping(patience=1))) == []  # a rate that only falls


def test_a_quantity_that_fit_does_not_report() -> None:
    test = overfit(metric_names=("loss", "accuracy"), metric_values=np.ones((60, 2)))
    watching = stopping("val_f1", mode="max", direction="max", metric_direction="")
    assert "does not report" in one("SD709", plan(watching), test).message
    assert found("SD709", plan(watching, PlannedCallback("Score")), test) == []
    assert found("SD709", plan(watching), test, wiring(own_training=True)) == []
    assert found("SD709", plan(watching, own_report=True), test) == []
    assert found("SD709", plan(watching)) == []  # not known what it reports
    named = stopping("val_accuracy", direction="max", metric_direction="max")
    assert found("SD709", plan(named), test) == []


@pytest.mark.parametrize(("best_only", "alarms"), [(True, 1), (False, 0)])
def test_a_checkpoint_of_every_epoch_compares_nothing(best_only: bool, alarms: int) -> None:
    config = {"monitor": "val_loss", "mode": "max", "save_best_only": best_only}
    keeping = PlannedCallback("ModelCheckpoint", config, direction="max", metric_direction="min")
    assert len(found("SD709", plan(keeping))) == alarms
    test = overfit(metric_names=("loss", "accuracy"), metric_values=np.ones((60, 2)))
    config = {**config, "monitor": "val_f1"}
    absent = PlannedCallback("ModelCheckpoint", config, direction="max", metric_direction="")
    assert len(found("SD709", plan(absent), test)) == alarms


def test_a_monitored_metric_without_a_direction() -> None:
    unsure = stopping("val_score", direction="unknown", metric_direction="")
    assert one("SD709", plan(unsure)).severity == "error"
    unbuilt = stopping("val_score", direction="", metric_direction="")
    assert found("SD709", plan(unbuilt)) == []


# SD707, SD708


@pytest.mark.parametrize(
    "around",
    [(0.2, 0.2), (-0.2, 0.2), (0.0, 0.0), ()],
    ids=["convex", "linear", "flat", "not measured"],
)
def test_losses_with_the_right_sign(around: tuple[float, ...]) -> None:
    check = loss_check(against_targets=-0.5, at_targets=0.0, around_targets=around)
    assert found("SD707", check, stuck(-1.0)) == []


def test_a_loss_of_keras_is_not_checked_for_its_targets() -> None:
    check = loss_check(against_targets=0.4, against_others=(0.4, 0.4))
    assert found("SD708", check) == []
    own = {"loss": "custom:loss", "loss_config": {}}
    assert "custom compute_loss" in skipped("SD708", check, wiring(**own, own_training=True))
    assert "differ in shape" in skipped("SD708", loss_check(), wiring(**own))


@pytest.mark.parametrize(
    ("at", "around", "alarms"),
    [
        (0.1, (0.2, 0.0), 0),  # the mean of the predictions: they are the loss
        (0.1, (0.1, 0.1), 1),
        (0.1, (0.2, 0.3), 1),
        (float("nan"), (), 1),
    ],
)
def test_a_loss_that_is_its_prediction(at: float, around: tuple[float, ...], alarms: int) -> None:
    check = loss_check(
        against_targets=0.5, against_others=(0.5, 0.5), at_targets=at, around_targets=around
    )
    assert len(found("SD708", check, wiring(loss="custom:loss", loss_config={}))) == alarms


# SD710


@pytest.mark.parametrize(
    ("name", "values", "alarm"),
    [
        ("accuracy", np.zeros(60), True),
        ("head_binary_accuracy", np.full(60, 0.5), True),
        ("accuracy", np.ones(60), False),
        ("accuracy", np.append(np.zeros(59), 1.0), False),
        ("mae", np.zeros(60), False),
        ("top1acc", np.zeros(60), True),
        ("macro_f1", np.zeros(60), False),
        ("jaccard", np.full(60, 0.5), False),
    ],
)
def test_a_metric_that_never_changes(name: str, values: np.ndarray, alarm: bool) -> None:
    test = overfit(metric_names=(name,), metric_values=values[:, None])
    assert len(found("SD710", test)) == alarm


@pytest.mark.parametrize(("steps", "value", "alarm"), [(12, 0.0, 1), (12, 0.5, 0), (5, 0.0, 0)])
def test_few_steps_tell_of_an_accuracy_at_zero(steps: int, value: float, alarm: int) -> None:
    test = overfit(
        0.5 * 0.7 ** np.arange(steps + 1),
        checked=np.array([0, steps]),
        training_error=np.array([0.5, 0.01]),
        inference_error=np.array([0.5, 0.01]),
        metric_names=("accuracy",),
        metric_values=np.full((steps, 1), value),
    )
    assert len(found("SD710", test)) == alarm


# SD702


def _still(**fields: Any) -> GradientHistory:
    fields = {"update_ratio": np.zeros((STEPS, len(VARIABLES))), **fields}
    return gradients(**fields, loss=np.full(STEPS, 0.5))


@pytest.mark.parametrize(("finite", "words"), [(0, "got 0"), (5, "got 5")])
def test_steps_that_loss_scaling_left_out_are_no_low_rate(finite: int, words: str) -> None:
    bad = np.where(np.arange(STEPS) < STEPS - finite, 0.5, 0.0)
    history = _still(nonfinite_share=np.outer(bad, np.ones(len(VARIABLES))))
    scaled = wiring(precision="mixed_float16", loss_scaled=True)
    assert words in skipped("SD702", history, scaled, stuck())
    assert found("SD702", _still(), scaled, stuck())


def test_kernels_without_a_gradient_are_not_blamed_on_the_rate() -> None:
    """A saturated layer starves what lies before it; what lies behind moves all the same."""
    kernels = ("encoder/conv/kernel", "encoder/more/kernel", "head/kernel")
    starved = dict(zip(kernels, (1e-14, 1e-14, 0.1), strict=True))
    ratio = np.zeros((STEPS, len(kernels)))
    fed = dict.fromkeys(kernels, 0.1)
    assert found("SD702", gradients(starved, update_ratio=ratio), stuck())
    assert found("SD702", gradients(fed, update_ratio=ratio), stuck())
    ratio[:, 2] = 1e-3
    assert found("SD702", gradients(starved, update_ratio=ratio), stuck()) == []


# SD703


@pytest.mark.parametrize(("planned", "alarms"), [(16, 0), (2, 1), (None, 1)])
def test_the_batch_size_of_fit_overrides_the_measured_one(planned: int | None, alarms: int) -> None:
    shapes = dict.fromkeys(("input_shapes", "output_shapes"), ((None, 1, 1, 16),))
    crossed = wiring(*calls_with("encoder/norm", **shapes))
    looked_at = (activations(batch_size=2), items(source="batches", batch_size=planned))
    assert len(found("SD703", crossed, *looked_at)) == alarms


# SD711


@pytest.mark.parametrize(
    ("optimizer", "config", "level", "alarms"),
    [
        ("SGD", {"momentum": 0.999}, 0.5, 1),
        ("Adam", {"beta_1": 0.999}, 0.5, 1),
        ("SGD", {"momentum": 0.99}, 0.5, 0),
        ("SGD", {}, 0.5, 0),
        ("SGD", {"momentum": 0.999}, None, 0),  # it learns all the same
    ],
)
def test_a_momentum_that_averages_hundreds_of_steps(
    optimizer: str, config: dict[str, float], level: float | None, alarms: int
) -> None:
    test = overfit() if level is None else stuck(level)
    settings = wiring(optimizer=optimizer, optimizer_config=config)
    swamped = found("SD711", settings, test)
    assert [f.evidence["setting"] for f in swamped] == ["momentum"] * alarms
    assert all("momentum is 0.999" in f.message for f in swamped)


# SD609


@pytest.mark.parametrize(("mixture", "alarms"), [(0.0, 1), (0.3, 1), (1.03, 0), (np.nan, 1)])
def test_classes_sorted_within_batches_alone(mixture: float, alarms: int) -> None:
    facts = items(
        source="dataset", reordered=False, classes=2, changes=24.0, expected_changes=200.0,
        mixture=mixture, batch_size=32,
    )  # fmt: skip
    assert len(found("SD609", facts, wiring(loss="binary_crossentropy"))) == alarms


@pytest.mark.parametrize(("validated", "alarms"), [(None, 0), (True, 0), (False, 1)])
def test_validation_data_of_fit_are_given_missing_or_unknown(
    validated: bool | None, alarms: int
) -> None:
    found_ = found("SD709", plan(stopping(), validated=validated))
    assert len(found_) == alarms
    assert all("no validation data" in finding.message for finding in found_)
    assert found("SD709", plan(stopping("loss"), validated=validated)) == []
    own = plan(stopping(), PlannedCallback("Score"), validated=validated)
    assert found("SD709", own) == [], "it can report a val_loss"
