"""What is handed to fit, item by item; whose edges masks lie on; objects of another Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saldiag.core.training.fit_plan import FitPlan
from tests.support import models

pytestmark = pytest.mark.tensorflow
RNG = np.random.default_rng(7)
PHOTOGRAPHS = Path(__file__).resolve().parents[4] / "shared" / "data" / "ecssd-240" / "Imgs"


@pytest.fixture(scope="module")
def model(keras):
    return models.dense(4, 1)


@pytest.fixture
def measure(model):
    from saldiag_probes.data.samples import measure_items

    def of(data, batches=(), **plan):
        return measure_items(model, FitPlan(data=data, **plan), batches)

    return of


def items(count=40, width=4):
    return RNG.normal(size=(count, width)).astype("float32"), np.arange(count) % 2


def test_arrays_are_shuffled_unless_fit_says_not(measure):
    x, y = items()
    facts = measure((x, y), batch_size=8)
    assert (facts.source, facts.read, facts.batches, facts.batch_size) == ("arrays", 40, 5, 8)
    assert (facts.whole, facts.endless, facts.reordered) == (True, False, True)
    assert measure((x, y), shuffle=False).reordered is False


def test_shared_items_are_those_of_input_and_target(measure):
    x, y = items()
    assert measure((x, y), validation=[(x[:10], y[:10])]).shared == 10
    assert measure((x, y), validation=[(x[:10], 1 - y[:10])]).shared == 0
    assert measure((x, y)).shared is None


def test_changes_of_class_in_the_order_of_reading(measure):
    import tensorflow as tf

    x, y = items()
    order = np.argsort(y)
    dataset = tf.data.Dataset.from_tensor_slices((x[order], y[order])).batch(8)
    facts = measure(dataset)
    assert (facts.classes, facts.changes, facts.expected_changes) == (2, 1.0, 20.0)
    assert facts.mixture == 0.0
    assert measure((x, np.eye(2)[y])).changes == 39.0
    assert measure((x, x)).classes is None


def test_the_length_of_a_dataset_is_its_cardinality_or_counted(measure):
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(items()).batch(8)
    assert measure(dataset).batches == 5
    assert measure(dataset.filter(lambda x, y: True)).batches == 5
    endless = measure(dataset.repeat().take(100).repeat())
    assert (endless.endless, endless.whole, endless.repeated) == (True, False, None)


def test_a_generator_is_not_touched(measure):
    from saldiag_probes.trace.errors import CannotMeasure

    generator = iter([items()])
    with pytest.raises(CannotMeasure, match="cannot be read twice"):
        measure(generator)
    assert len(list(generator)) == 1


def test_batches_have_no_order(measure):
    facts = measure(None, batches=[items()])
    assert (facts.source, facts.read, facts.classes, facts.batches) == ("batches", 40, None, None)


def squares(count, side=24):
    masks = np.zeros((count, side, side, 1), "float32")
    for mask in masks:
        row, column = RNG.integers(1, side - 9, 2)
        mask[row : row + 8, column : column + 8] = 1
    noise = RNG.uniform(0, 0.5, size=(count, side, side, 3))
    return (noise + 0.5 * masks).astype("float32"), masks


def looked_at(pictures, masks):
    from saldiag_probes.data.masks import MaskStatistics

    found = MaskStatistics()
    found.add_batch([pictures], [masks])
    return found


def test_masks_match_their_own_pictures_until_they_are_shifted():
    pictures, masks = squares(40)
    right = looked_at(pictures, masks).mask_pairing()
    wrong = looked_at(pictures, np.roll(masks, 1, axis=0)).mask_pairing()
    assert right.own > 0.7 > 0.1 > right.other
    assert wrong.other > 0.7 > 0.1 > wrong.own
    assert wrong.turned < 0.6


def test_noise_finds_no_more_than_turned_noise():
    pictures = RNG.uniform(size=(64, 24, 24, 3))
    noise = (RNG.uniform(size=(64, 24, 24, 1)) > 0.8).astype("float32")
    pairing = looked_at(pictures, noise).mask_pairing()
    assert abs(pairing.own + pairing.other - pairing.turned) < 0.3


def test_grey_edges_and_targets_that_are_no_masks():
    pictures, masks = squares(4)
    blurred = (masks[:, :, :-1] + masks[:, :, 1:]) / 2
    assert looked_at(pictures, masks).mask_greys().share == 0
    greys = looked_at(pictures[:, :, :-1], blurred).mask_greys()
    assert greys.share > 0.01
    assert greys.between > 0.9
    assert looked_at(pictures, 0.5 * masks + 0.2).mask_greys() is None, "soft labels"
    assert looked_at(masks, masks).mask_greys() is None, "an autoencoder"


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="no photographs beside the checkout")
def test_real_photographs_find_their_masks():
    from PIL import Image

    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))[:32]
    pictures = np.stack([np.asarray(Image.open(p).convert("RGB").resize((64, 64))) for p in paths])
    masks = [Image.open(p.with_suffix(".png")).convert("L").resize((64, 64), 0) for p in paths]
    targets = np.stack([np.asarray(mask) > 127 for mask in masks])[..., None].astype("float32")
    assert looked_at(pictures, targets).mask_pairing().own > 0.7
    assert looked_at(pictures, np.roll(targets, 3, axis=0)).mask_pairing().other > 0.7


def test_objects_of_another_keras_are_recognised_by_their_module(keras):
    from saldiag_probes.network.legacy_keras import measure_foreign_objects

    older = type("Dense", (), {"__module__": "tf_keras.src.layers.core.dense"})
    model = models.sequential((4,), keras.layers.Dense(1), name="m")
    assert measure_foreign_objects(model).objects == ()
    model.layers[0].hidden = [older()]
    (found,) = measure_foreign_objects(model).objects
    assert (found.kind, found.package, found.parameters) == ("Dense", "tf_keras", 0)
    assert found.place.endswith("/hidden")
    (callback,) = measure_foreign_objects(keras.Sequential(), (older(),)).objects
    assert (callback.place, callback.layer) == ("callbacks[0]", None)


def test_batches_of_both_classes_are_mixed_however_sorted(measure):
    import tensorflow as tf

    x, y = items()
    order = np.arange(40).reshape(5, 4, 2).transpose(0, 2, 1).ravel()  # four of each in a batch
    facts = measure(tf.data.Dataset.from_tensor_slices((x[order], y[order])).batch(8))
    assert facts.changes == 9.0
    assert facts.mixture > 1.0
    single = measure(tf.data.Dataset.from_tensor_slices((x, y)).batch(1))
    assert np.isnan(single.mixture)


@pytest.mark.parametrize("inside", [False, True])
def test_a_generator_behind_a_dataset_is_not_touched(measure, inside):
    import tensorflow as tf

    from saldiag_probes.trace.errors import CannotMeasure

    generator = iter(range(8))

    def read(_=None):
        return tf.data.Dataset.from_generator(
            lambda: generator, output_signature=tf.TensorSpec((), tf.int64)
        )

    dataset = tf.data.Dataset.range(2).interleave(read) if inside else read().repeat().prefetch(1)
    with pytest.raises(CannotMeasure, match="generator"):
        measure(dataset.map(lambda v: (v, v)).batch(4))
    assert len(list(generator)) == 8


def test_the_values_of_a_large_item_are_counted_in_a_part_of_it(measure):
    x = np.arange(3 * 90_000).reshape(3, 300, 300)
    assert measure((x, np.arange(3))).values == 4091  # every 22nd
    assert measure((x[:, :8, :8], np.arange(3))).values == 64


class Stored:
    """An array in a file, of which only slices may be read."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __array__(self, *_, **__):
        raise AssertionError("all of it was read")

    def __getitem__(self, part):
        return self.array[part]


def test_arrays_in_files_are_read_by_slices(measure):
    x, y = items()
    facts = measure((Stored(x), y), batch_size=8)
    assert (facts.source, facts.read, facts.batches) == ("arrays", 40, 5)


def test_what_is_no_array_is_not_read(measure):
    from scipy.sparse import csr_matrix

    from saldiag_probes.trace.errors import CannotMeasure

    x, y = items()
    for data in ((csr_matrix(x), y), (x, y[:-1]), (object(),), (x, 1.0), ()):
        with pytest.raises(CannotMeasure, match="neither arrays"):
            measure(data)
