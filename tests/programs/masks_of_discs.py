"""Segmentation of discs, with the intersection over union for a metric."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(6)
rng = np.random.default_rng(6)


def discs(count):
    rows, columns = np.mgrid[0:24, 0:24]
    middle, radius = rng.uniform(6, 18, (count, 2, 1, 1)), rng.uniform(3, 7, (count, 1, 1))
    inside = (rows - middle[:, 0]) ** 2 + (columns - middle[:, 1]) ** 2 < radius**2
    pictures = 0.3 * rng.normal(size=(count, 24, 24)) + inside
    return pictures[..., None].astype("float32"), inside[..., None].astype("float32")


x, y = discs(192)
x_val, y_val = discs(48)
model = keras.Sequential(
    [
        keras.Input((24, 24, 1)),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 1, activation="sigmoid"),
    ]
)
# fault SD710: iou = keras.metrics.MeanIoU(num_classes=2, sparse_y_pred=False)
iou = keras.metrics.BinaryIoU(target_class_ids=[0, 1], threshold=0.5)
model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=[iou])  # named
model.fit(x, y, batch_size=16, epochs=8, validation_data=(x_val, y_val), verbose=0)
