"""Classes of Keras without a public name.

- ``CompileLoss``: what ``compile`` wraps a loss in; created here without a model.
- ``Functional``: models made of symbolic inputs and outputs, which public ``Model`` covers too.
- ``RandomInitializer``: the base of all initializers that draw; the public ones have no common one.
- ``Tracker``: what layers and optimizers register their state with.
"""

from __future__ import annotations

from keras.src.initializers.random_initializers import RandomInitializer
from keras.src.models.functional import Functional
from keras.src.trainers.compile_utils import CompileLoss
from keras.src.utils.tracking import Tracker

__all__ = ["CompileLoss", "Functional", "RandomInitializer", "Tracker"]
