"""Whether training and inference may differ, and how BatchNorm is run, told once."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import models

pytestmark = pytest.mark.tensorflow
keras = pytest.importorskip("keras")
from keras import layers  # noqa: E402

X, Y = np.ones((4, 6), "float32"), np.zeros((4, 1), "float32")


class Hiding(layers.Layer):
    """Keeps a dropout where Keras does not find it."""

    def __init__(self):
        super().__init__()
        self.kept = ({"dropout": layers.Dropout(0.5)},)

    def call(self, x):
        return self.kept[0]["dropout"](x)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(1)

    def call(self, x):
        return self.head(x)


def of(*parts):
    return models.sequential((6,), *parts, layers.Dense(1))


def series(layer):
    return models.sequential((6, 2), layer, layers.Dense(1))


@pytest.mark.parametrize(
    ("make", "differ"),
    [
        (lambda: of(layers.Dense(3, "relu"), layers.LayerNormalization()), False),
        (lambda: of(of(layers.Dense(3))), False),
        (lambda: series(layers.GRU(3)), False),
        (lambda: series(layers.GRU(3, dropout=0.1)), True),
        (lambda: series(layers.Bidirectional(layers.LSTM(3, recurrent_dropout=0.1))), True),
        (lambda: of(layers.Dropout(0.1)), True),
        (lambda: of(of(layers.BatchNormalization())), True),
        (lambda: of(layers.GaussianNoise(0.1)), True),
        (lambda: of(layers.Lambda(lambda x: x)), True),
        (lambda: of(Hiding()), True),
        (Own, True),
    ],
)
def test_modes_differ_unless_all_layers_are_plain_keras_layers(make, differ):
    from saldiag_probes.trace.layer_facts import depends_on_mode

    model = make()
    assert depends_on_mode(model) is differ


@pytest.mark.parametrize("kind", ["Dense", "Dropout"])
def test_errors_are_those_of_a_trace_in_that_mode(kind):
    from saldiag.experiments.overfit.mode_errors import ModeErrors
    from saldiag_probes.loss.recomputed_loss import loss_comparison

    model = of(layers.Dense(3) if kind == "Dense" else layers.Dropout(0.999))
    model.compile("sgd", "mse", jit_compile=False)
    errors = ModeErrors(model, [(X, Y)])
    assert (errors.error(training=True) == errors.error(training=False)) is (kind == "Dense")
    alone = loss_comparison(model, training=False)(X, Y, None)[2]
    assert errors.error(training=False) == pytest.approx(float(alone), rel=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_batchnorm_modes_of_a_pass_equal_those_of_a_trace(frozen, inside):
    from saldiag_probes.network.trainability import measure_trainable
    from saldiag_probes.survey import survey

    norm = layers.BatchNormalization(name="norm")
    norm.trainable = not frozen
    model = of(of(norm)) if inside else of(norm)
    model.compile("sgd", "mse", jit_compile=False)
    seen = survey(model, (X, Y))
    alone = measure_trainable(model, (X, Y)).normalization
    told = measure_trainable(model, (X, Y), moments=seen.moments).normalization
    assert told == alone
    assert [row.training_mode for row in told] == [not frozen]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_pass_leaves_the_collector_as_it_was(enabled):
    import gc

    from saldiag_probes.survey import survey

    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        model = of(layers.Dense(2))
        model.compile("sgd", "mse", jit_compile=False)
        survey(model, (X, Y))
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
