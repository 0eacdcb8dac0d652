"""How ``fit`` reads its data, and the stages of a ``tf.data`` pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def fit_dataset(
    x: Any, y: Any, sample_weight: Any, *, batch_size: int | None, shuffle: Any, class_weight: Any
) -> Iterable[Any]:
    """The batches that ``fit`` creates from its arguments; no public function does the same."""
    from keras.src.trainers import epoch_iterator

    iterator = epoch_iterator.EpochIterator(
        x,
        y,
        sample_weight,
        batch_size=batch_size,
        shuffle=shuffle,
        class_weight=class_weight,
        steps_per_execution=1,
    )
    dataset: Iterable[Any] = iterator.data_adapter.get_tf_dataset()
    return dataset


def class_weights_as_sample_weights(y: Any, class_weight: Any) -> Any:
    """Sample weights for ``fit(class_weight=…)``; Keras converts them only inside ``fit``."""
    from keras.src.trainers.data_adapters import data_adapter_utils

    return data_adapter_utils.class_weight_to_sample_weights(y, class_weight)


def training_and_validation(arrays: tuple[Any, ...], share: float) -> tuple[Any, Any]:
    """Arrays split as by ``fit(validation_split=…)``; Keras splits them only inside ``fit``."""
    from keras.src.trainers.data_adapters import array_slicing

    kept, held = array_slicing.train_validation_split(arrays, validation_split=share)
    return kept, held


def pipeline_functions(dataset: Any) -> Iterable[Any]:
    """The functions of one stage of a ``tf.data`` pipeline; there is no public list."""
    functions: Iterable[Any] = dataset._functions()
    return functions


def pipeline_inputs(dataset: Any) -> Iterable[Any]:
    """The data sets that one stage of a ``tf.data`` pipeline reads; there is no public list."""
    inputs: Iterable[Any] = dataset._inputs()
    return inputs
