"""``keras.applications``: networks of any size, and the addresses of their weights.

- ``DenseNet``, ``EfficientNetV2``: with as many blocks as given; the public functions fix them.
"""

from __future__ import annotations

from keras.src.applications import mobilenet_v2
from keras.src.applications.densenet import DenseNet
from keras.src.applications.efficientnet_v2 import EfficientNetV2
from keras.src.backend import config

__all__ = ["DenseNet", "EfficientNetV2", "cache_folder", "mobilenet_v2_address"]


def mobilenet_v2_address() -> str:
    """Address of MobileNetV2's weights without the file name; not public."""
    return str(mobilenet_v2.BASE_WEIGHT_PATH)


def cache_folder() -> str:
    """Keras' folder in the user's home; ``keras.config`` has no function for it."""
    return str(config.keras_home())
