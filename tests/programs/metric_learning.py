"""Metric learning for image similarity search: anchors and positives, a similarity matrix."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(16)
num_classes = 4
means = np.random.normal(0, 1, (num_classes, 24))


class AnchorPositivePairs(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return self.batches

    def __getitem__(self, _idx):
        x = means[None] + np.random.normal(0, 0.5, (2, num_classes, 24))
        return x.astype("float32")


class EmbeddingModel(keras.Model):
    def train_step(self, data):
        # Note: Workaround for open issue, to be removed.
        if isinstance(data, tuple):
            data = data[0]
        anchors, positives = data[0], data[1]
        with tf.GradientTape() as tape:
            anchor_embeddings = self(anchors, training=True)
            positive_embeddings = self(positives, training=True)
            similarities = keras.ops.einsum("ae,pe->ap", anchor_embeddings, positive_embeddings)
            # Since we intend to use these as logits we scale them by a temperature.
            similarities /= 0.2
            sparse_labels = keras.ops.arange(num_classes)
            loss = self.compute_loss(y=sparse_labels, y_pred=similarities)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(sparse_labels, similarities)
        return {m.name: m.result() for m in self.metrics}


inputs = layers.Input(shape=(24,))
x = layers.Dense(32, activation="relu")(inputs)
embeddings = layers.Dense(units=8, activation=None)(x)
embeddings = layers.UnitNormalization()(embeddings)
model = EmbeddingModel(inputs, embeddings)

model.compile(  # named
    # fault SD702: optimizer=keras.optimizers.Adam(learning_rate=1e-9),
    optimizer=keras.optimizers.Adam(learning_rate=1e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
)
history = model.fit(AnchorPositivePairs(batches=60), epochs=2)
