"""Parts of HDF5 files in the format of Keras 2, and serialized tensors."""

from __future__ import annotations

from typing import Any


def write_weights(file: Any, model: Any) -> None:
    """Write a model's weights into an open file; ``save_weights`` refuses the format."""
    from keras.src.legacy.saving import legacy_h5_format

    legacy_h5_format.save_weights_to_hdf5_group(file, model)


def optimizer_weights(file: Any) -> Any:
    """The optimizer's weights in an open file; ``load_model`` drops them."""
    from keras.src.legacy.saving import legacy_h5_format

    return legacy_h5_format.load_optimizer_weights_from_hdf5_group(file)


def tensor_message(data: bytes) -> Any:
    """The ``TensorProto`` for ``tf.make_ndarray``, which is public, but its argument is not."""
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    return TensorProto.FromString(data)
