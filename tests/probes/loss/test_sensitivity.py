"""How a loss answers to other targets and to perfect predictions; what the overfit test keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow
keras = pytest.importorskip("keras")

X = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]


def _answers(loss: Any, y: np.ndarray, predicted: np.ndarray) -> Any:
    from saldiag_probes.loss.sensitivity import loss_sensitivity

    model = models.compiled(models.dense(1, 1), "sgd", loss)
    return loss_sensitivity(model, (X, y), predicted)


def test_squares_are_lowest_at_the_targets() -> None:
    found = _answers("mse", X, X + 1)
    assert found["at_targets"] == 0
    assert found["around_targets"] == pytest.approx((1 / 16, 1 / 16))
    assert found["against_targets"] == pytest.approx(1)
    assert found["against_others"][0] > 1


def test_a_loss_without_targets_answers_the_same() -> None:
    found = _answers(lambda y, p: keras.ops.mean(p**2 + 0 * y), X, X + 1)
    assert found["against_others"] == pytest.approx((found["against_targets"],) * 2)


def test_equal_targets_and_other_shapes_are_not_measured() -> None:
    assert _answers("mse", np.ones_like(X), X)["against_others"] == ()
    assert _answers("mse", X[:6, 0], X[:6].reshape(3, 2)) == {}


def test_targets_without_the_axis_of_size_1_are_measured() -> None:
    assert _answers("mse", X[:, 0], X + 1)["at_targets"] == 0
    compared_all_with_all = _answers(_AllWithAll(), X[:, 0], X + 1)
    assert compared_all_with_all["against_others"][1] > compared_all_with_all["against_targets"]


class _AllWithAll(keras.losses.Loss):
    """Targets turned upside down are the same to it, since theirs are symmetric."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return keras.ops.mean(keras.ops.square(y_true - y_pred))


def test_the_overfit_test_keeps_metrics_and_whether_weights_moved() -> None:
    from saldiag.core.measurement import Baselines
    from saldiag.experiments.overfit.mode_errors import ModeErrors
    from saldiag.experiments.overfit.overfit_test import OverfitPlan, OverfitTest

    model = models.compiled(models.dense(1, 1), "sgd", "mse", metrics=["mae"])
    plan = OverfitPlan(Baselines("mse", 1.0, 0.0, 1e-9, "mean"), max_steps=3)
    history = OverfitTest(ModeErrors(model, [(X, 3 * X + 1)]), plan).run()
    assert set(history.metric_names) == {"loss", "mae"}
    assert history.metric_values.shape == (3, 2)
    assert history.moved_share == 1.0
