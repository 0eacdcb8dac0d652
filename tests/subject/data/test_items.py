"""Which items are looked at, from arrays and from streams; what the program feeds is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from saldiag.app.session.request import DataRequest
from saldiag.core.errors import DataError
from saldiag.subject.models.spec import DataSpec

pytestmark = pytest.mark.tensorflow


def request(**options: Any) -> DataRequest:
    return DataRequest(DataSpec("code"), **options)


def of(value: Any) -> Any:
    from saldiag.subject.data.items import items_or_stream

    return items_or_stream(value, "it")


def chosen(count: int, **options: Any) -> Any:
    from saldiag.app.loading.batches import _batches_of_split

    return _batches_of_split(request(**options), of((np.arange(count), np.arange(count))))


def first(value: Any, **options: Any) -> Any:
    from saldiag.app.loading.batches import _first_batches

    return _first_batches(request(**options), of(value), "it")


def seen(batches: Any) -> list[int]:
    return [int(number) for batch in batches for number in np.ravel(batch[0])]


def test_a_tenth_is_held_out_and_the_rest_is_chosen_by_the_seed() -> None:
    data = chosen(100, batch_size=4, seed=1)
    memorised, held = seen(data.batches), seen(data.validation)
    assert (len(memorised), len(held), data.subset_items) == (4, 4, 9)
    assert not set(memorised) & set(held)
    assert seen(chosen(100, batch_size=4, seed=1).batches) == memorised
    assert seen(chosen(100, batch_size=4, seed=2).batches) != memorised


def test_all_of_the_subset_and_a_given_number() -> None:
    assert len(seen(chosen(100, items=0, subset=1.0).batches)) == 90
    assert [len(batch[0]) for batch in chosen(100, items=10, subset=1.0, batch_size=4).batches] == [
        4, 4, 2,
    ]  # fmt: skip
    assert seen(chosen(1).batches) == [0], "a single item is memorised, not held out"


def endless() -> Iterator[Any]:
    number = 0
    while True:
        number += 1
        yield np.full((4, 1), number), np.zeros((4, 1))


def test_a_generator_gives_its_first_batches_and_one_to_validate_with() -> None:
    data = first(endless(), items=10)
    assert [int(batch[0][0, 0]) for batch in data.batches] == [1, 2, 3]
    assert int(data.validation[0][0][0, 0]) == 4
    assert (data.subset_items, data.fit_data) == (12, None)


def test_a_dataset_by_its_share_of_batches() -> None:
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((np.arange(40), np.arange(40))).batch(4)
    data = first(dataset, items=0, subset=0.5)
    assert (len(data.batches), data.fit_data) == (5, dataset)
    assert first(dataset.repeat()).fit_data is None, "an epoch of it is not known"
    with pytest.raises(DataError, match="number of batches is not known"):
        first(dataset.repeat(), items=0)
    with pytest.raises(DataError, match="its batches are scalars"):
        first(dataset.unbatch())


def test_a_py_dataset() -> None:
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            return np.full((4, 1), index), np.zeros((4, 1))

    data = first(Batches(), items=8)
    assert [int(batch[0][0, 0]) for batch in (*data.batches, *data.validation)] == [0, 1, 2]


def test_frames_and_nests_of_arrays() -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert of((frame, frame["a"])).read([1])[0].tolist() == [[2, 4]]
    x, y, weight = of(({"a": np.arange(3)}, np.arange(3), np.ones(3))).read([2, 0])
    assert (x["a"].tolist(), y.tolist(), weight.tolist()) == ([2, 0], [2, 0], [1, 1])
    assert len(of(np.zeros((3, 2))).read([0])) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "it: returned NoneType"),
        ("text", "it: returned str"),
        ((np.zeros(3),) * 4, "it: returned tuple"),
        ((np.array([{}, 1], dtype=object), np.zeros(2)), "Python objects, not numbers"),
        ((np.zeros(3), np.zeros(2)), r"the arrays differ in length: \(3,\), \(2,\)"),
        ((np.zeros(0), np.zeros(0)), "contains no items"),
    ],
)
def test_what_fit_would_not_take(value: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        of(value)


def test_a_share_of_a_stream_is_taken_or_refused() -> None:
    import tensorflow as tf

    numbers = tf.data.Dataset.from_tensor_slices((np.arange(40), np.arange(40))).batch(4)
    assert len(seen(first(numbers, subset=0.2, items=100).batches)) == 8
    assert len(seen(first(numbers, items=20).batches)) == 20, "nothing was said of a share"
    with pytest.raises(DataError, match="give --items N instead of --subset"):
        first(endless(), subset=0.2)
    assert len(seen(first(endless(), items=8).batches)) == 8
