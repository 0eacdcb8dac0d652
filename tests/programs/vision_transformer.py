"""Image classification with a Vision Transformer (ViT)."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(42)
num_classes = 4
image_size = 24
patch_size = 6
num_patches = (image_size // patch_size) ** 2
projection_dim = 16
num_heads = 2

y_train = np.random.randint(0, num_classes, (192, 1))
x_train = np.random.randint(0, 128, (192, image_size, image_size, 3)).astype("float32")
for i in range(len(x_train)):
    x_train[i, :, :, :2] += 30 * y_train[i]

data_augmentation = keras.Sequential(
    [layers.Normalization(), layers.RandomFlip("horizontal")], name="data_augmentation"
)
# Compute the mean and the variance of the training data for normalization.
data_augmentation.layers[0].adapt(x_train)


class Patches(layers.Layer):
    def __init__(self, patch_size):
        super().__init__()
        self.patch_size = patch_size

    def call(self, images):
        patches = ops.image.extract_patches(images, size=self.patch_size)
        shape = ops.shape(patches)
        return ops.reshape(patches, (shape[0], shape[1] * shape[2], shape[3]))


class PatchEncoder(layers.Layer):
    def __init__(self, num_patches, projection_dim):
        super().__init__()
        self.num_patches = num_patches
        self.projection = layers.Dense(units=projection_dim)
        self.position_embedding = layers.Embedding(num_patches, projection_dim)

    def call(self, patch):
        positions = ops.expand_dims(ops.arange(start=0, stop=self.num_patches, step=1), axis=0)
        return self.projection(patch) + self.position_embedding(positions)


def mlp(x, hidden_units, dropout_rate):
    for units in hidden_units:
        x = layers.Dense(units, activation=keras.activations.gelu)(x)
        x = layers.Dropout(dropout_rate)(x)
    return x


def create_vit_classifier():
    inputs = keras.Input(shape=(image_size, image_size, 3))
    augmented = data_augmentation(inputs)
    patches = Patches(patch_size)(augmented)
    encoded_patches = PatchEncoder(num_patches, projection_dim)(patches)
    for _ in range(1):
        x1 = layers.LayerNormalization(epsilon=1e-6)(encoded_patches)
        attention = layers.MultiHeadAttention(num_heads, key_dim=projection_dim)
        x2 = layers.Add()([attention(x1, x1), encoded_patches])
        x3 = layers.LayerNormalization(epsilon=1e-6)(x2)
        x3 = mlp(x3, hidden_units=[projection_dim], dropout_rate=0.1)
        encoded_patches = layers.Add()([x3, x2])
    representation = layers.LayerNormalization(epsilon=1e-6)(encoded_patches)
    representation = layers.Flatten()(representation)
    features = mlp(representation, hidden_units=[32], dropout_rate=0.3)
    logits = layers.Dense(num_classes)(features)
    return keras.Model(inputs=inputs, outputs=logits)


model = create_vit_classifier()
# fault SD106: loss = keras.losses.SparseCategoricalCrossentropy()
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.AdamW(learning_rate=0.001, weight_decay=0.0001)
model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])  # named
history = model.fit(x=x_train, y=y_train, batch_size=32, epochs=2, validation_split=0.1)
