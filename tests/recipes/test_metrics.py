"""Saliency metrics against PySODMetrics, on real masks where they are and on drawn ones."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from saldiag.recipes import saliency

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import py_sod_metrics

DATA = Path(__file__).parents[3] / "shared" / "data" / "ecssd-240" / "Imgs"


def drawn_masks(count=6, height=61, width=83):
    """Ellipses of several sizes and places; one mask is empty, one is full."""
    y, x = np.mgrid[:height, :width]
    masks = [np.zeros((height, width), bool), np.ones((height, width), bool)]
    for i in range(count - 2):
        row, column = 10 + 9 * i, 12 + 15 * i
        masks.append(((y - row) / (6 + 3 * i)) ** 2 + ((x - column) / (20 - 3 * i)) ** 2 < 1)
    return masks


def real_masks(count=16):
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    paths = sorted(DATA.glob("*.png"))[:: max(1, 240 // count)][:count]
    return [np.asarray(Image.open(path).convert("L")) > 128 for path in paths]


def perturbed(mask, seed):
    """A prediction as a network makes it: shifted, blurred, noisy, not quite of full range."""
    random = np.random.default_rng(seed)
    soft = gaussian_filter(np.roll(mask.astype(float), (3, -5), (0, 1)), 1 + 3 * random.random())
    noise = gaussian_filter(random.normal(size=mask.shape), 2)
    return np.clip(0.05 + 0.85 * soft + 0.2 * noise, 0, 1)


def pairs(masks):
    return [(perturbed(mask, seed), mask) for seed, mask in enumerate(masks)]


def pysod(name, pairs_, normalize=False, **options):
    """One PySODMetrics evaluator over the pairs; its notices about newer classes are not ours."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        evaluator = getattr(py_sod_metrics, name)(**options)
        for prediction, mask in pairs_:
            evaluator.step(prediction, mask, normalize=normalize)
        return evaluator.get_results()


def average(function, pairs_):
    return np.mean([function(prediction, mask) for prediction, mask in pairs_], axis=0)


@pytest.fixture(params=["drawn", "real"])
def examples(request):
    return pairs(drawn_masks() if request.param == "drawn" else real_masks())


def test_mae_and_f_beta_agree_with_pysodmetrics(examples):
    theirs = pysod("Fmeasure", examples, beta=0.3)["fm"]
    assert average(saliency.mean_absolute_error, examples) == pytest.approx(
        pysod("MAE", examples)["mae"], abs=1e-9
    )
    np.testing.assert_allclose(
        average(saliency.f_beta_curve, examples), theirs["curve"], rtol=1e-9, atol=1e-12
    )
    adaptive = average(saliency.adaptive_f_beta, examples)
    assert adaptive == pytest.approx(theirs["adp"], abs=1e-9)


def test_weighted_f_beta_agrees_with_pysodmetrics(examples):
    theirs = pysod("WeightedFmeasure", examples, beta=0.3)["wfm"]
    assert average(saliency.weighted_f_beta, examples) == pytest.approx(theirs, abs=1e-9)
    assert 0.05 < theirs < 0.99


def test_structure_and_alignment_agree_with_pysodmetrics(examples):
    assert average(saliency.s_measure, examples) == pytest.approx(
        pysod("Smeasure", examples)["sm"], abs=1e-9
    )
    theirs = pysod("Emeasure", examples)["em"]
    np.testing.assert_allclose(
        average(saliency.e_measure_curve, examples), theirs["curve"], rtol=1e-9, atol=1e-12
    )
    adaptive = average(saliency.adaptive_e_measure, examples)
    assert adaptive == pytest.approx(theirs["adp"], abs=1e-9)


def test_stretch_is_what_pysodmetrics_does_to_files(examples):
    files = [((p * 200 + 20).astype(np.uint8), m.astype(np.uint8) * 255) for p, m in examples]
    stretched = [(saliency.stretch_range(p / 255), m / 255) for p, m in files]
    theirs = pysod("WeightedFmeasure", files, normalize=True, beta=0.3)["wfm"]
    assert average(saliency.weighted_f_beta, stretched) == pytest.approx(theirs, abs=1e-9)
    unstretched = average(saliency.weighted_f_beta, examples)
    assert abs(unstretched - theirs) > 1e-3  # the step matters
    assert saliency.stretch_range(np.full((2, 2), 0.4)).tolist() == [[0.4, 0.4], [0.4, 0.4]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_all_measures_lie_between_0_and_1_and_the_mask_itself_is_best(seed, height, width):
    random = np.random.default_rng(seed)
    mask = random.random((height, width)) < 0.5
    guess = random.random((height, width))
    for measure in (saliency.adaptive_f_beta, saliency.weighted_f_beta, saliency.s_measure):
        assert -1e-12 <= measure(guess, mask) <= 1 + 1e-12
    if mask.any():
        assert saliency.weighted_f_beta(mask, mask) == pytest.approx(1)
        assert saliency.f_beta_curve(mask, mask).max() == pytest.approx(1)
        assert saliency.f_beta_curve(guess, mask).max() <= 1 + 1e-12
    assert saliency.mean_absolute_error(mask, mask) == 0


@pytest.mark.parametrize(
    ("prediction", "mask", "complaint"),
    [
        (np.zeros((4, 4)), np.zeros((4, 5)), "must have the same shape"),
        (np.zeros((4, 4, 1)), np.zeros((4, 4, 1)), "must have the same shape"),
        (np.full((4, 4), np.nan), np.zeros((4, 4)), "non-finite"),
    ],
)
def test_measures_refuse_what_they_cannot_measure(prediction, mask, complaint):
    with pytest.raises(ValueError, match=complaint):
        saliency.weighted_f_beta(prediction, mask)


# The same as Keras metrics.


def batches(masks, size=3):
    """Batches (B, H, W, 1) in float32 of the masks cut to one size, and the pairs they hold."""
    height = min(mask.shape[0] for mask in masks)
    width = min(mask.shape[1] for mask in masks)
    cut = [
        (p.astype(np.float32), m) for p, m in pairs([mask[:height, :width] for mask in masks])
    ]  # fmt: skip
    starts = range(0, len(cut), size)
    stacked = [
        tuple(np.stack(part)[..., None] for part in zip(*cut[start : start + size], strict=True))
        for start in starts
    ]
    return cut, stacked


@pytest.fixture(params=["drawn", "real"])
def streamed(request):
    return batches(drawn_masks() if request.param == "drawn" else real_masks())


@pytest.mark.tensorflow
def test_keras_metrics_agree_with_pysodmetrics_in_graph_mode(streamed):
    import tensorflow as tf

    from saldiag.recipes.metrics import saliency_metrics

    cut, stacked = streamed
    metrics = {metric.name: metric for metric in saliency_metrics()}

    @tf.function(reduce_retracing=True)
    def update(masks, predictions):
        for metric in metrics.values():
            metric.update_state(masks, predictions)

    for predictions, masks in stacked:
        update(tf.constant(masks, tf.float32), tf.constant(predictions))
    f = pysod("Fmeasure", cut, beta=0.3)["fm"]
    expected = {
        "mae": pysod("MAE", cut)["mae"],
        "max_f_beta": f["curve"].max(),
        "mean_f_beta": f["curve"].mean(),
        "adaptive_f_beta": f["adp"],
        "weighted_f_beta": pysod("WeightedFmeasure", cut, beta=0.3)["wfm"],
    }
    found = {name: float(metric.result()) for name, metric in metrics.items()}
    assert found == pytest.approx(expected, abs=2e-6)


@pytest.mark.tensorflow
def test_a_metric_is_nan_before_the_first_image_and_after_a_prediction_that_is_not_finite():
    import keras

    from saldiag.recipes.metrics import AdaptiveFBeta, MaxFBeta, MeanFBeta, WeightedFBeta

    mask = np.zeros((1, 4, 4, 1), np.float32)
    mask[:, 2:] = 1
    for kind in (MaxFBeta, MeanFBeta, AdaptiveFBeta, WeightedFBeta):
        metric = kind()
        assert np.isnan(float(metric.result()))
        metric.update_state(mask, mask)
        assert float(metric.result()) == pytest.approx(1, abs=0.002)  # level 0 takes everything
        metric.update_state(mask, mask * np.nan)
        assert np.isnan(float(metric.result()))
        metric.reset_state()
        metric.update_state(mask, 1 - mask)
        assert float(metric.result()) < 0.6
        again = keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(kind(name="mine", beta2=0.7))
        )
        assert (again.name, again.beta2) == ("mine", 0.7)


@pytest.mark.tensorflow
def test_images_can_be_weighted_where_the_metric_says_so():
    from saldiag.recipes.metrics import AdaptiveFBeta, WeightedFBeta

    masks = np.ones((2, 4, 4, 1), np.float32)
    predictions = np.stack([np.ones((4, 4, 1)), np.zeros((4, 4, 1))]).astype(np.float32)
    predictions[1, 0] = 1  # a quarter of the second mask
    metric = AdaptiveFBeta()
    metric.update_state(masks, predictions, sample_weight=np.array([3.0, 1.0]))
    quarter = 1.3 * 4 / (0.3 * 16 + 4)
    assert float(metric.result()) == pytest.approx((3 * 1 + quarter) / 4)
    with pytest.raises(ValueError, match="supports no sample_weight"):
        WeightedFBeta().update_state(masks, predictions, sample_weight=np.ones(2))


@pytest.mark.tensorflow
def test_the_costly_metric_is_measured_on_validation_images_only():
    import keras

    from saldiag.recipes.metrics import EvaluationOnly, saliency_metrics

    images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    masks = (images > 0.5).astype(np.float32)
    model = keras.Sequential([keras.layers.Conv2D(1, 1, activation="sigmoid")])
    metrics = saliency_metrics()
    model.compile("sgd", "mae", metrics=metrics, jit_compile=False)
    history = model.fit(
        images, masks, validation_data=(images, masks), batch_size=2, epochs=2, verbose=0,
        callbacks=[EvaluationOnly(metrics)],
    ).history  # fmt: skip
    assert "weighted_f_beta" not in history
    assert np.isfinite(history["val_weighted_f_beta"]).all()
    assert np.isfinite(history["max_f_beta"]).all()
    evaluated = model.evaluate(images, masks, verbose=0, return_dict=True)
    assert evaluated["weighted_f_beta"] == pytest.approx(history["val_weighted_f_beta"][-1])
