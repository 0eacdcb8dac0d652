"""Transfer learning: a backbone is trained on one task, frozen, and gets a new head."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(11)


def textures(count, classes):
    """Stripes of as many widths as there are classes."""
    y = np.random.randint(0, classes, count)
    columns = np.arange(24)
    waves = np.stack([np.sin(columns * (0.5 + 0.7 * k)) for k in range(classes)])
    x = waves[y][:, None, :, None] + np.random.normal(0, 0.5, (count, 24, 24, 1))
    return x.astype("float32"), y


def make_backbone():
    return keras.Sequential(
        [
            keras.Input((24, 24, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, activation="relu"),  # named
            layers.MaxPooling2D(),
        ],
        name="backbone",
    )


# 1. Pretrain on a source task with plenty of data
backbone = make_backbone()
source = keras.Sequential([backbone, layers.GlobalAveragePooling2D(), layers.Dense(6)])
source.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
source.fit(*textures(256, 6), epochs=2, verbose=0)
source.save_weights("source.weights.h5")

# 2. A new model on top of it, without training the backbone
base_model = make_backbone()
# fault SD403:
base_model.set_weights(backbone.get_weights())
base_model.trainable = False

inputs = keras.Input(shape=(24, 24, 1))
# The base model contains no batchnorm, but running in inference mode never hurts.
x = base_model(inputs, training=False)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Dropout(0.2)(x)
outputs = layers.Dense(1)(x)
model = keras.Model(inputs, outputs)
model.summary(show_trainable=True)

model.compile(
    optimizer=keras.optimizers.Adam(1e-2),
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy()],
)
x_new, y_new = textures(128, 2)
model.fit(x_new, y_new.astype("float32"), epochs=3, validation_data=textures(32, 2))
