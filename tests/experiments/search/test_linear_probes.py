"""Looks at each layer: where information is lost, and whose gradient is its own."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from saldiag.experiments.search.lab import Lab
from saldiag.experiments.search.linear_probes import cross_validated_score, fit_ridge, probe_layers
from tests.support import models

pytestmark = pytest.mark.tensorflow
random = np.random.default_rng(0)
X = random.normal(size=(40, 6)).astype("float32")
Y = X[:, :1] * 2 - X[:, 1:2] + 1


class TestProbe:
    def test_a_linear_target_has_a_high_score(self):
        weights, bias = fit_ridge(X.astype(float), Y.astype(float))
        assert weights[:2, 0] == pytest.approx([2, -1], abs=0.1)
        assert bias == pytest.approx([1], abs=0.05)
        assert cross_validated_score(X.astype(float), Y.astype(float), np.arange(40)) > 0.99

    def test_noise_has_a_low_score_whatever_the_number_of_features(self):
        noise = random.normal(size=(40, 30))
        assert cross_validated_score(noise, Y.astype(float), np.arange(40)) < 0.3

    def test_constant_features_have_no_score(self):
        assert cross_validated_score(np.ones((40, 3)), Y.astype(float), np.arange(40)) <= 0


class TestProbedLayers:
    def looked(self, *parts):
        model = models.compiled(models.sequential((6,), *parts), "adam", "mse")
        before = [np.array(v) for v in model.variables]
        found = {each.layer: each for each in probe_layers(Lab(model, ((X, Y),)))}
        assert all(np.array_equal(a, b) for a, b in zip(before, model.variables, strict=True))
        assert not any("call" in vars(layer) for layer in model.layers)
        return found

    def test_information_is_lost_where_units_are_dead(self):
        found = self.looked(
            layers.Dense(8, name="whole"),
            layers.Dense(8, activation="relu", bias_initializer=keras.initializers.Constant(-99.0),
                         name="dead"),
            layers.Dense(1, name="answer"),
        )  # fmt: skip
        assert found["whole"].information > 0.9
        assert found["dead"].information < 0.1
        assert found["whole"].own_gradient > 0
        assert found["dead"].own_gradient == 0

    def test_a_softmax_over_one_unit_loses_all_information(self):
        with pytest.warns(UserWarning, match="softmax"):
            found = self.looked(
                layers.Dense(1, name="logit"), layers.Activation("softmax", name="s")
            )
        assert found["s"].information < 0.1
        assert found["logit"].own_gradient > 0
        assert found["s"].own_gradient is None

    def test_maps_are_probed_place_by_place(self):
        x = random.normal(size=(24, 8, 8, 3)).astype("float32")
        parts = layers.Conv2D(8, 1, name="c"), layers.Conv2D(1, 1, name="d")
        model = models.compiled(models.sequential((8, 8, 3), *parts), "adam")
        found = probe_layers(Lab(model, ((x, (x[..., :1] > 0).astype("float32")),)))
        assert found[0].features == 8
        assert found[0].information > 0.5
