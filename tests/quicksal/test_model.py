"""QUICKSAL and the model of the case: shapes, sizes, seeds, and what each fault changes."""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

from saldiag.core.errors import ModelError, WeightsError
from saldiag.quicksal.blocks.mobilenet_v2 import SHAPES, UNITS
from tests.support import models

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

SIZE = 32
OTHERS = ("identical_branches", "late_strides", "random_expand", "shadowed_trainable",
          "relu_for_relu6", "float32_islands")  # fmt: skip


@pytest.fixture(autouse=True)
def own_filters():
    """Keep in the test what ``silenced_warnings`` installs, and what Keras says of the head."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using a softmax over axis", UserWarning)
        yield


@pytest.fixture(scope="module")
def looked_at(pretrained):
    """Models with those weights, for tests that only look: sound, without faults, with faults."""
    return plain(pretrained), reported(weights=pretrained), reported(*OTHERS, weights=pretrained)


def plain(weights: Any = "random", size: int = SIZE, seed: int = 0) -> Any:
    from saldiag.quicksal.model import quicksal

    return quicksal(size, weights=weights, seed=seed)


def reported(*faults: str, weights: Any = "random", size: int = SIZE, seed: int = 0) -> Any:
    from saldiag.quicksal.as_reported import quicksal_as_reported

    return quicksal_as_reported(faults, size, weights=weights, seed=seed)


@cache
def seen(*faults: str) -> Any:
    """A model that a test only looks at."""
    return reported(*faults)


def images(size: int = SIZE, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


def run(model: Any, x: np.ndarray | None = None, training: bool = False) -> np.ndarray:
    return np.asarray(model(images() if x is None else x, training=training))


def differing(one: Any, other: Any) -> set[str]:
    """Paths of the variables that only one of the two has, or that have other values."""
    a, b = ({v.path: v.numpy() for v in m.variables} for m in (one, other))
    same = {p for p in a.keys() & b.keys() if np.array_equal(a[p], b[p])}
    return (a.keys() | b.keys()) - same


def convolutions(model: Any) -> dict[str, tuple[Any, ...]]:
    import keras

    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose)
    return {
        variable.path.rpartition("/")[0]: (layer.kernel_size[0], layer.strides[0])
        for layer in model._flatten_layers()
        if isinstance(layer, kinds)
        for variable in layer.variables
    }


def activations(model: Any) -> list[Any]:
    import keras

    kinds = (keras.layers.ReLU, keras.layers.Activation)
    return [layer for layer in model._flatten_layers() if isinstance(layer, kinds)]


# -- the model as it should be ------------------------------------------------------------------


def test_table_agrees_with_keras():
    import keras

    whole = keras.applications.MobileNetV2((32, 32, 3), include_top=False, weights=None)
    there = {
        layer.name: tuple(tuple(v.shape) for v in layer.weights)
        for layer in whole.layers
        if layer.weights and not layer.name.startswith("Conv_1")
    }
    assert there == SHAPES
    assert list(there) == list(SHAPES)
    for unit in UNITS:
        assert whole.get_layer(unit.conv).strides[0] == unit.strides
        norm = whole.get_layer(unit.norm)
        assert (norm.epsilon, norm.momentum) == (1e-3, 0.999)


def test_layers_shapes_and_size_at_224():
    model = plain(size=224)
    assert model.name == "quicksal"
    assert [layer.name for layer in model.layers] == [
        "image", "encoder",
        "inception_5", "join_4", "inception_4", "join_3", "inception_3",
        "join_2", "inception_2", "join_1", "inception_1",
        "Convf1", "Convf2", "sigmoid_output",
    ]  # fmt: skip
    assert [tuple(tap.shape[1:]) for tap in model.get_layer("encoder").outputs] == [
        (112, 112, 32), (56, 56, 24), (28, 28, 32), (14, 14, 96), (7, 7, 320),
    ]  # fmt: skip
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 224, 224, 1)
    assert model.count_params() == 3_799_560  # about 3.8 M


@pytest.mark.parametrize("size", [0, -32, 31, 100, 225])
def test_a_size_that_cannot_be_halved_five_times_is_refused(size):
    with pytest.raises(ModelError, match="divisible by 32"):
        plain(size=size)
    with pytest.raises(ModelError, match="divisible by 32"):
        reported(size=size)


def test_channels_first_is_refused(monkeypatch):
    import keras

    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ModelError, match="channels_last"):
        plain()


def test_random_encoder_is_trained_and_a_pretrained_one_is_not(pretrained):
    random, frozen = plain(), plain(pretrained)
    encoder = {v.path for v in random.get_layer("encoder").trainable_variables}
    assert encoder <= {v.path for v in random.trainable_variables}
    assert len(encoder) == 3 * len(UNITS)
    assert frozen.get_layer("encoder").trainable_variables == []
    before = [v.numpy() for v in frozen.get_layer("encoder").variables]
    taps = frozen.get_layer("encoder")
    for inference, training in zip(taps(images()), taps(images(), training=True), strict=True):
        assert np.array_equal(inference, training)  # BatchNorm in inference mode, always
    after = [v.numpy() for v in frozen.get_layer("encoder").variables]
    assert all(np.array_equal(b, a) for b, a in zip(before, after, strict=True))


def test_random_batchnorm_runs_in_training_mode():
    model = plain()
    moving = model.get_layer("encoder").get_layer("bn_Conv1").moving_mean
    run(model, training=True)
    assert np.abs(moving.numpy()).max() > 0


def test_pretrained_weights_arrive(pretrained, looked_at):
    model = looked_at[0].get_layer("encoder")
    for name, arrays in pretrained.layers.items():
        for here, there in zip(model.get_layer(name).get_weights(), arrays, strict=True):
            assert np.array_equal(here, there)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_after_other_draws():
    import keras

    keras.utils.set_random_seed(1)
    one = plain(seed=3)
    keras.utils.set_random_seed(2)
    assert differing(one, plain(seed=3)) == set()
    kernels = {v.path for v in one.variables if v.path.endswith("kernel")}
    assert differing(one, plain(seed=4)) == kernels


@pytest.mark.slow
def test_output_is_float32_under_a_half_precision_policy():
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for model in (plain(), reported("float32_islands")):
            assert model.get_layer("Convf2").compute_dtype == "bfloat16"
            assert model.output.dtype == "float32"
            assert run(model).dtype == np.float32
            assert {v.dtype for v in model.variables} == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")


# -- without faults, the model of the case is the model as it should be, but for its start --------


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_without_faults_both_models_compute_the_same(pretrained, training):
    from saldiag.quicksal.as_reported import SLOW_STATISTICS
    from saldiag.quicksal.model import quicksal

    for weights in ("random", pretrained):
        same_start = quicksal(64, weights=weights, **SLOW_STATISTICS)
        one = run(same_start, images(64), training)
        other = run(reported(weights=weights, size=64), images(64), training)
        assert np.array_equal(one, other)
        assert one.std() > 0


@pytest.mark.slow
def test_without_faults_both_models_train_the_same_number_of_parameters(looked_at):
    def sizes(model):
        return model.count_params(), sum(np.prod(v.shape) for v in model.trainable_variables)

    assert sizes(looked_at[0]) == sizes(looked_at[1])
    assert sizes(plain()) == sizes(seen())


def test_unknown_fault_is_refused_with_a_suggestion():
    with pytest.raises(ModelError, match="did you mean softmax_head"):
        reported("softmax-head")
    with pytest.raises(ModelError, match="known are softmax_head, identical_branches"):
        reported("xyz")


# -- one fault at a time -------------------------------------------------------------------------


def test_default_is_all_faults():
    from saldiag.quicksal.as_reported import FAULTS, quicksal_as_reported

    assert set(FAULTS) == {"softmax_head", "silenced_warnings", *OTHERS}
    model = quicksal_as_reported(image_size=SIZE, weights="random")
    assert model.name == "quicksal-as-reported"
    assert [layer.name for layer in model.layers][-3:] == ["Convf1", "Convf2", "softmax_output"]
    assert model.get_layer("encoder").get_layer("bir_1").expand is not None


def test_softmax_head_gives_exactly_no_gradient():
    import tensorflow as tf

    model = reported("softmax_head")
    assert model.get_layer("Convf2").activation.__name__ == "softmax"
    assert model.get_layer("softmax_output").activation.__name__ == "softmax"
    assert differing(model, seen()) == set()
    with tf.GradientTape() as tape:
        out = model(images(), training=True)
        loss = tf.reduce_mean(tf.abs(out - 0.3))
    # On some processors TensorFlow's softmax over one number is 1 - 2**-24 instead of 1, and what
    # should be exactly zero is rounding: two softmaxes let 2**-48 of the gradient pass.
    one = float(tf.nn.softmax(tf.zeros((64, 1)))[0, 0])
    assert one in {1.0, 1 - 2**-24}
    assert np.unique(out) == pytest.approx([1.0], abs=2**-24)
    gradients = tape.gradient(loss, model.trainable_variables)
    sound = sound_gradients(model)
    assert len(gradients) > 100
    for gradient, norm in zip(gradients, sound, strict=True):
        assert np.linalg.norm(gradient) <= (0 if one == 1 else 2**-40 * norm)


def sound_gradients(model: Any) -> list[float]:
    """Gradient norms of the same weights under a sigmoid."""
    import tensorflow as tf

    twin = reported()
    twin.set_weights(model.get_weights())
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(twin(images(), training=True) - 0.3))
    return [float(np.linalg.norm(g)) for g in tape.gradient(loss, twin.trainable_variables)]


def test_sigmoid_head_gives_gradient():
    import tensorflow as tf

    model = reported()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(model(images(), training=True) - 0.3))
    assert np.abs(tape.gradient(loss, model.get_layer("Convf2").kernel)).max() > 0


def test_identical_branches():
    good, bad = convolutions(seen()), convolutions(seen("identical_branches"))
    changed = {path: (good[path][0], bad[path][0]) for path in good if good[path] != bad[path]}
    assert good.keys() == bad.keys()
    assert len(changed) == 1 + 2 + 2 + 3 + 3  # every branch but the first of each block
    assert {after for _, after in changed.values()} == {1}
    assert changed["inception_1/branch_4"] == (7, 1)


def test_late_strides():
    good, bad = convolutions(seen()), convolutions(seen("late_strides"))

    def halving(found):
        paths = (p for p, (_, strides) in found.items() if p.startswith("bir") and strides == 2)
        return sorted(int(path.split("/")[0].removeprefix("bir_")) for path in paths)

    assert halving(good) == [2, 4, 7, 14]
    assert halving(bad) == [3, 6, 10, 16]
    one, other = seen(), seen("late_strides")
    assert [t.shape for t in one.get_layer("encoder").outputs] == [
        t.shape for t in other.get_layer("encoder").outputs
    ]
    assert differing(one, other) == set()


def test_random_expand(pretrained, looked_at):
    bad, good = reported("random_expand", weights=pretrained), looked_at[1]
    stem = {"Conv1/kernel", *(f"bn_Conv1/{v}" for v in ("gamma", "beta", "moving_mean",
                                                        "moving_variance"))}  # fmt: skip
    changed = differing(bad, good)
    assert {path for path in changed if "bir_1/expand" not in path} == stem
    assert len(changed) == len(stem) + 5
    assert tuple(bad.get_layer("encoder").get_layer("bir_1").expand.kernel.shape) == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("faults", "shadowed"), [((), "depthwise"), (("random_expand",), "expand")]
)
def test_shadowed_trainable(faults, shadowed):
    model = reported("shadowed_trainable", *faults)
    encoder = model.get_layer("encoder")
    block = encoder.get_layer("bir_1")
    assert encoder.trainable
    assert not any(layer.trainable for layer in encoder.layers)
    assert getattr(block, shadowed).trainable
    assert block.trainable_variables == []  # what the block says, and what the model says
    assert [v.path for v in encoder.trainable_variables] == [f"bir_1/{shadowed}/kernel"]
    assert differing(model, seen(*faults)) == set()


def test_relu_for_relu6():
    def limits(model):
        return {relu.max_value for relu in activations(model.get_layer("encoder"))}

    assert limits(seen()) == {6.0}
    assert limits(seen("relu_for_relu6")) == {None}
    assert differing(seen(), seen("relu_for_relu6")) == set()


def test_float32_islands():
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        good, bad = activations(reported()), activations(reported("float32_islands"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in good[:-1]} == {"bfloat16"}
    assert {layer.compute_dtype for layer in bad} == {"float32"}
    assert len(bad) == 1 + 33 + 10 + 1  # stem, encoder blocks, decoder blocks, head


def test_silenced_warnings_hide_what_keras_says_of_the_head():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(reported("softmax_head"))
    assert any("This axis has size 1" in str(w.message) for w in told)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(reported("softmax_head", "silenced_warnings"))
    assert not any("This axis has size 1" in str(w.message) for w in told)


@pytest.mark.slow
def test_silenced_warnings_are_silenced_at_every_build():
    importlib.import_module("saldiag.quicksal.silenced")
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.resetwarnings()
            reported("silenced_warnings")
            action, _, category, module, _ = warnings.filters[0]
            assert (action, category, module.pattern) == ("ignore", UserWarning, "keras")


# -- where the weights come from -----------------------------------------------------------------


def weighted_encoder_paths(model: Any, prefix: str = "") -> list[str]:
    found = []
    for layer in model._flatten_layers(include_self=False, recursive=False):
        path = f"{prefix}{layer.name}"
        if layer._trainable_variables or layer._non_trainable_variables:
            found.append(path)
        found += weighted_encoder_paths(layer, f"{path}/")
    return [path for path in found if prefix or path.startswith("encoder/")]


def test_origins_cover_every_encoder_layer_with_weights(looked_at):
    from saldiag.quicksal.pretrained.origins import weight_origins

    for model in looked_at:
        rows = weight_origins(model)
        assert sorted(row.layer for row in rows) == sorted(weighted_encoder_paths(model))
        for row in rows:
            assert row.network == "MobileNetV2"
            assert row.source_layer in {*SHAPES, None}
            assert not row.there or row.there.keys() == row.here.keys()


def test_origins_without_faults_have_nothing_to_report(looked_at):
    from saldiag.quicksal.pretrained.origins import weight_origins

    for model in looked_at[:2]:
        assert all(row.copied and row.here == row.there for row in weight_origins(model))
    assert not any(row.copied for row in weight_origins(seen()))


def test_origins_tell_the_faults_of_the_encoder(looked_at):
    from saldiag.quicksal.pretrained.origins import weight_origins

    rows = {row.layer: row for row in weight_origins(looked_at[2])}
    expand = rows["encoder/bir_1/expand"]
    assert (expand.source_layer, expand.copied, expand.there) == (None, False, {})
    assert not rows["encoder/Conv1"].copied
    assert not rows["encoder/bn_Conv1"].copied
    depthwise = rows["encoder/bir_3/depthwise"]
    assert (depthwise.source_layer, depthwise.copied) == ("block_2_depthwise", True)
    assert depthwise.here == {"strides": 2, "kernel_size": 3, "activation": "relu"}
    assert depthwise.there == {"strides": 1, "kernel_size": 3, "activation": "relu6"}


def test_origins_of_another_model_are_empty():

    from saldiag.quicksal.pretrained.origins import weight_origins

    assert weight_origins(models.dense(2, 1)) == ()


# -- saving and loading --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("faults", [None, (), ("softmax_head", *OTHERS)])
@pytest.mark.parametrize("start", ["random", "file"])
def test_saved_models_come_back_as_they_were(tmp_path, pretrained, faults, start):
    import keras

    weights = pretrained if start == "file" else start
    model = plain(weights) if faults is None else reported(*faults, weights=weights)
    x = images()
    run(model, x, training=True)  # moves the BatchNorm statistics
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert np.array_equal(run(model, x), run(again, x))
    assert np.array_equal(run(model, x, training=True), run(again, x, training=True))
    for ours, theirs in zip(model._flatten_layers(), again._flatten_layers(), strict=True):
        if not isinstance(ours, keras.layers.InputLayer):  # has nothing to train
            assert (ours.name, ours.trainable) == (theirs.name, theirs.trainable)
    assert [v.path for v in again.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    assert {layer.compute_dtype for layer in activations(again)} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras"])
def test_a_complete_model_is_loaded_from_its_file(tmp_path, name):
    trained = reported("random_expand", seed=1)
    trained.compile(optimizer="adam", loss="mae")
    run(trained, training=True)
    (trained.save_weights if name.endswith("h5") else trained.save)(tmp_path / name)
    again = reported("random_expand", weights=str(tmp_path / name), seed=2)
    assert differing(trained, again) == set()
    assert again.get_layer("encoder").trainable_variables == []


def test_encoder_file_written_by_keras(tmp_path):
    import keras

    whole = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=3)
    whole.save_weights(tmp_path / "m.weights.h5")
    encoder = plain(str(tmp_path / "m.weights.h5")).get_layer("encoder")
    for name in SHAPES:
        pairs = zip(
            encoder.get_layer(name).get_weights(), whole.get_layer(name).get_weights(), strict=True
        )
        assert all(np.array_equal(here, there) for here, there in pairs)


@pytest.mark.slow
def test_a_complete_file_of_another_model_changes_nothing(tmp_path):
    from saldiag.quicksal.pretrained.weights import load_model_weights

    reported("random_expand", seed=1).save_weights(tmp_path / "m.weights.h5")
    model, path = reported(), tmp_path / "m.weights.h5"
    before = [v.numpy() for v in model.variables]
    with pytest.raises(WeightsError, match="bir_1/expand is not in quicksal-as-reported"):
        load_model_weights(model, path)
    assert all(np.array_equal(b, v) for b, v in zip(before, model.variables, strict=True))
    with pytest.raises(WeightsError, match="encoder/expanded_conv_depthwise is missing"):
        plain(str(path))
    reported("identical_branches").save_weights(path)
    with pytest.raises(
        WeightsError, match="branch_2 has 1x1x1920x1, but the model needs 3x3x1920x1"
    ):
        load_model_weights(model, path)


# -- it learns -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_random_start_memorises_once_the_head_is_repaired():
    """Four blobs at 32x32, random weights, MAE: far below the best constant within 60 steps.

    A frozen random encoder must let the signal through: with Keras' own random start its deepest
    tap is 1e-18 and the model hardly gets below the best constant.
    """
    import keras
    import tensorflow as tf

    x, y = blobs()
    model = reported(*OTHERS)
    for tap in model.get_layer("encoder")(x):
        assert 0.05 < float(tf.math.reduce_std(tap)) < 100
    optimizer = keras.optimizers.Adam(3e-3)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=False)
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(model(x, training=True) - y))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    losses = [float(step()) for _ in range(60)]
    constant = min(y.mean(), 1 - y.mean())
    assert losses[0] > constant
    assert losses[-1] < constant / 4


def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = np.zeros((4, SIZE, SIZE, 1), np.float32)
    for number, (row, column) in enumerate(((2, 4), (14, 16), (10, 2), (1, 18))):
        y[number, row : row + 12, column : column + 13] = 1
    noise = rng.normal(0, 0.2, (4, SIZE, SIZE, 3))
    return np.clip(y - 0.5 + noise, -1, 1).astype(np.float32), y
