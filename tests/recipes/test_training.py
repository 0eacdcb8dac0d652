"""The recipe: its numbers, the cyclical learning rate, the losses, compiling."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.errors import SaldiagError
from tests.support import models

pytestmark = pytest.mark.tensorflow


def smith(step, base, maximum, step_size):
    """The formula as the paper prints it (Smith 2017, section 3.1)."""
    cycle = math.floor(1 + step / (2 * step_size))
    x = abs(step / step_size - 2 * cycle + 1)
    return base + (maximum - base) * max(0.0, 1 - x)


rates = st.floats(1e-6, 1.0).flatmap(lambda base: st.tuples(st.just(base), st.floats(base, 10.0)))


@given(rates, st.integers(1, 5000), st.integers(0, 100_000))
def test_the_cycle_is_smiths_formula_within_its_bounds_and_periodic(rates, step_size, step):
    from saldiag.recipes.cyclic_lr import TriangularCyclicalLearningRate

    base, maximum = rates
    schedule = TriangularCyclicalLearningRate(base, maximum, step_size)
    rate = float(schedule(step))
    assert rate == pytest.approx(smith(step, base, maximum, step_size), rel=1e-4, abs=1e-6)
    assert base * (1 - 1e-6) <= rate <= maximum * (1 + 1e-6)
    assert float(schedule(step + 2 * step_size)) == rate


@given(rates, st.integers(1, 5000), st.integers(0, 1_000_000))
def test_the_cycle_peaks_half_way_and_begins_at_the_base(rates, step_size, cycle):
    from saldiag.recipes.cyclic_lr import TriangularCyclicalLearningRate

    base, maximum = rates
    schedule = TriangularCyclicalLearningRate(base, maximum, step_size)
    start = 2 * step_size * cycle
    assert float(schedule(start)) == pytest.approx(base)
    assert float(schedule(start + step_size)) == pytest.approx(maximum)


def test_the_cycle_is_followed_in_the_training_graph_and_survives_saving(tmp_path):
    import keras

    from saldiag.recipes.cyclic_lr import TriangularCyclicalLearningRate

    model = models.dense(1, 1)
    schedule = TriangularCyclicalLearningRate(0.1, 0.4, 3)
    model.compile(keras.optimizers.SGD(schedule), "mse", jit_compile=False)
    seen = []

    def note_rate(batch, logs):
        seen.append(float(model.optimizer.learning_rate))

    model.fit(
        np.ones((8, 1)), np.ones((8, 1)), batch_size=1, verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=note_rate)],
    )  # fmt: skip
    assert seen == pytest.approx([0.2, 0.3, 0.4, 0.3, 0.2, 0.1, 0.2, 0.3])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.3)
    assert loaded.optimizer.get_config()["learning_rate"]["config"] == schedule.get_config()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [((0.2, 0.1, 5), "base <= maximum"), ((-1, 0.1, 5), "0 <= base"), ((0, 0.1, 0), "1 step")],
)
def test_a_cycle_that_makes_no_sense_is_refused(arguments, complaint):
    from saldiag.recipes.cyclic_lr import TriangularCyclicalLearningRate

    with pytest.raises(SaldiagError, match=complaint):
        TriangularCyclicalLearningRate(*arguments)


def test_the_recipe_is_that_of_the_case():
    from saldiag.recipes.saliency_training import Recipe

    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.image_size) == (50, 32, 224)
    assert (recipe.base_learning_rate, recipe.max_learning_rate, recipe.step_size) == (
        1e-4, 1e-3, 2000,
    )  # fmt: skip
    assert (recipe.loss, recipe.patience, recipe.beta2) == ("mae", 10, 0.3)
    assert float(recipe.schedule()(1000)) == pytest.approx(5.5e-4)
    assert Recipe(learning_rate=0.5).schedule() == 0.5


def test_precision_follows_the_hardware_and_says_so(monkeypatch):
    import tensorflow as tf

    from saldiag.recipes.saliency_training import Recipe

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    recipe, note = Recipe().resolved()
    assert recipe.precision == "float32"
    assert "no GPU" in note
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    recipe, note = Recipe().resolved()
    assert recipe.precision == "mixed_float16"
    assert "GPU" in note
    assert Recipe(precision="float32").resolved() == (Recipe(precision="float32"), None)


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"patience": -1}, "patience must be at least 1"),
        ({"learning_rate": -0.1}, "learning_rate must be a positive number, not -0.1"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive number, not nan"),
        ({"beta2": math.inf}, "beta2 must be a positive number"),
        ({"base_learning_rate": 0.1}, "base <= maximum"),
        ({"seed": -1}, "seed must be from 0"),
        ({"loss": "scaled_mae"}, "did you mean scaled-mae"),
        ({"loss": "magic"}, "choose one of mae, scaled-mae"),
        ({"precision": "float16"}, "precision"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused_in_one_line(numbers, complaint):
    from saldiag.recipes.saliency_training import Recipe

    with pytest.raises(SaldiagError, match=complaint) as caught:
        Recipe(**numbers)
    assert "\n" not in str(caught.value)


MASK = np.zeros((2, 2, 2, 1), np.float32)
MASK[0, 0] = 1
GUESS = np.full((2, 2, 2, 1), 0.25, np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mae", (0.5 + 0.25) / 2),
        ("scaled-mae", 1e3 * (0.5 + 0.25) / 2),
        ("mse", ((0.75**2 + 0.25**2) / 2 + 0.25**2) / 2),
        ("bce", -(2 * math.log(0.25) + 6 * math.log(0.75)) / 8),
        ("dice", ((1 - (2 * 0.5 + 1) / (2 + 0.25 + 1)) + (1 - 1 / (0.25 + 1))) / 2),
        ("iou", ((1 - (0.5 + 1) / (2 + 1 - 0.5 + 1)) + (1 - 1 / (1 + 1))) / 2),
    ],
)
def test_losses_are_what_their_formulas_say_and_survive_saving(name, expected):
    import keras

    from saldiag.recipes.losses import LOSSES, loss_by_name

    loss = loss_by_name(name)
    assert float(loss(MASK, GUESS)) == pytest.approx(expected, rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(MASK, GUESS)) == pytest.approx(expected, rel=1e-5)
    assert name in LOSSES


@pytest.mark.parametrize("name", ["dice", "iou"])
def test_overlap_losses_are_0_for_the_mask_itself_and_fall_towards_it(name):
    import tensorflow as tf

    from saldiag.recipes.losses import loss_by_name

    loss = loss_by_name(name)
    assert float(loss(MASK, MASK)) == pytest.approx(0, abs=1e-6)
    guess = tf.constant(GUESS)
    with tf.GradientTape() as tape:
        tape.watch(guess)
        value = loss(MASK, guess)
    gradient = tape.gradient(value, guess).numpy()
    assert (gradient[MASK == 1] < 0).all()
    assert (gradient[MASK == 0] > 0).all()


@pytest.mark.parametrize(
    ("policy", "scaled"),
    [("float32", False), ("mixed_float16", True), ("mixed_bfloat16", False)],
)
def test_the_loss_is_scaled_under_mixed_float16_and_only_there(policy, scaled):
    import keras

    from saldiag.recipes.training import compile_model, dtype_policy

    before = keras.config.dtype_policy().name
    with dtype_policy(policy):
        model = models.dense(4, 1)
    assert keras.config.dtype_policy().name == before
    compile_model(model, loss="mae", learning_rate=0.01)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == scaled
    assert model.jit_compile is False
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_each_epoch_has_a_seed_of_its_own():
    from saldiag.recipes.training import epoch_seed

    seeds = [epoch_seed(seed, number) for seed in range(10) for number in range(10)]
    assert seeds == [epoch_seed(seed, number) for seed in range(10) for number in range(10)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_order_of_an_epoch_is_the_same_wherever_training_begins(tmp_path):
    from saldiag.core.errors import DataError
    from saldiag.image_masks.msra10k import open_dataset
    from saldiag.image_masks.sample import write_sample
    from saldiag.recipes.saliency_training import Recipe, training_data

    write_sample(tmp_path / "sample", count=7)
    items = open_dataset(tmp_path / "sample").split(0).train
    recipe = Recipe(batch_size=2, image_size=32)
    data = training_data(items, items, recipe)
    assert data.steps == -(-len(items) // 2)

    def batches(first_epoch):
        return list(data.train(first_epoch).take(3 * data.steps).as_numpy_iterator())

    whole, resumed = batches(0), batches(2)
    for one, two in zip(whole[2 * data.steps :], resumed[: data.steps], strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
    first, second = whole[: data.steps], whole[data.steps : 2 * data.steps]
    assert any((a[0] != b[0]).any() for a, b in zip(first, second, strict=True))
    assert sum(len(batch[0]) for batch in first) == len(items)
    assert int(data.validation.cardinality()) == data.steps
    with pytest.raises(DataError, match="0 pairs are too few"):
        training_data(items, [], recipe)
