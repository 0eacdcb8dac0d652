"""Image classification with modern MLP models: the mixer block is a layer of its own."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(7)
num_classes, embedding_dim, num_blocks = 3, 32, 1

labels = np.random.randint(0, num_classes, 192)
images = np.random.normal(0, 1, (192, 16, 16, 3)).astype("float32")
images += np.linspace(-1, 1, 16)[None, :, None, None] * (labels - 1)[:, None, None, None]


class MLPMixerLayer(layers.Layer):
    def __init__(self, num_patches, hidden_units, dropout_rate, **kwargs):
        super().__init__(**kwargs)
        self.mlp1 = keras.Sequential(
            [
                layers.Dense(units=num_patches, activation="gelu"),
                layers.Dense(units=num_patches),
                layers.Dropout(rate=dropout_rate),
            ]
        )
        self.mlp2 = keras.Sequential(
            [
                layers.Dense(units=hidden_units, activation="gelu"),
                layers.Dense(units=hidden_units),
                layers.Dropout(rate=dropout_rate),
            ]
        )
        self.normalize = layers.LayerNormalization(epsilon=1e-6)

    def build(self, input_shape):
        return super().build(input_shape)

    def call(self, inputs):
        x = self.normalize(inputs)
        x_channels = keras.ops.transpose(x, axes=(0, 2, 1))
        mlp1_outputs = self.mlp1(x_channels)
        mlp1_outputs = keras.ops.transpose(mlp1_outputs, axes=(0, 2, 1))
        x = mlp1_outputs + inputs
        x_patches = self.normalize(x)
        mlp2_outputs = self.mlp2(x_patches)
        return x + mlp2_outputs


def build_classifier(blocks):
    inputs = layers.Input(shape=(16, 16, 3))
    # Patches of 4x4 become vectors.
    patches = layers.Conv2D(embedding_dim, 4, strides=4, padding="valid")(inputs)
    x = layers.Reshape((16, embedding_dim))(patches)
    x = blocks(x)
    representation = layers.GlobalAveragePooling1D()(x)
    representation = layers.Dropout(rate=0.2)(representation)
    logits = layers.Dense(num_classes)(representation)
    return keras.Model(inputs=inputs, outputs=logits)


mlpmixer_blocks = keras.Sequential(
    [MLPMixerLayer(16, embedding_dim, 0.2) for _ in range(num_blocks)]
)
model = build_classifier(mlpmixer_blocks)
model.compile(  # named
    # fault SD701: optimizer=keras.optimizers.SGD(learning_rate=300.0),
    optimizer=keras.optimizers.SGD(learning_rate=0.05),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
)
early_stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=5)
model.fit(images, labels, batch_size=16, epochs=3, validation_split=0.1, callbacks=[early_stopping])
