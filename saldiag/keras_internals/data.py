"""How ``fit`` reads its data, and the stages of a ``tf.data`` pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

REPEATABLE_STAGES = frozenset({
    "BatchDataset", "ConcatenateDataset", "MapDataset", "OptionsDataset", "PaddedBatchDataset",
    "ParallelBatchDataset", "ParallelMapDataset", "PrefetchDataset", "RangeDataset",
    "RepeatDataset", "SkipDataset", "TakeDataset", "TensorDataset", "TensorSliceDataset",
    "UnbatchDataset", "ZipDataset",
})  # fmt: skip
"""Classes of pipeline stages without a state of their own, which no public flag marks."""


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


def is_repeatable_pipeline(dataset: Any) -> bool:
    """Whether reading a ``tf.data`` pipeline changes nothing, and gives the same batches again.

    False if a stage shuffles, caches or reads files, and if a function of it has a stateful
    operation: a random number, a variable, Python code.
    """
    import tensorflow as tf

    if not isinstance(dataset, tf.data.Dataset):
        return False
    stages = {cls.__name__.lstrip("_") for cls in type(dataset).__mro__}
    if not stages & REPEATABLE_STAGES:
        return False
    if any(map(_has_stateful_operation, pipeline_functions(dataset))):
        return False
    return all(map(is_repeatable_pipeline, pipeline_inputs(dataset)))


def _has_stateful_operation(wrapper: Any) -> bool:
    """Whether a function of a pipeline, or one that it calls, has a stateful operation."""
    from tensorflow.python.framework import op_def_registry

    graph = wrapper.function.graph.as_graph_def()
    parts = (graph.node, *(function.node_def for function in graph.library.function))
    for name in {node.op for nodes in parts for node in nodes}:
        definition = op_def_registry.get(name)
        if definition is not None and definition.is_stateful and not name.endswith("Call"):
            return True
    return False
