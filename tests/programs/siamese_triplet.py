"""Siamese network with a triplet loss: a distance layer and a training loop in train_step."""

import keras
import numpy as np
import tensorflow as tf
from keras import Model, layers, metrics, ops, optimizers

keras.utils.set_random_seed(15)
target_shape = (10, 10)


def picture(kind):
    image = np.random.normal(0, 0.3, (*target_shape, 3)).astype("float32")
    image[..., kind] += 1
    return image


kinds = [np.random.choice(3, 2, replace=False) for _ in range(128)]
triplets = tuple(
    np.stack([picture(pair[which]) for pair in kinds]) for which in (0, 0, 1)
)  # anchor, positive, negative
dataset = tf.data.Dataset.from_tensor_slices(triplets).shuffle(128).batch(16, drop_remainder=True)

embedding = keras.Sequential(
    [
        layers.Input(shape=(*target_shape, 3)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(32, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(16),
    ],
    name="Embedding",
)


class DistanceLayer(layers.Layer):
    """Computes the distance between the anchor embedding and the other two."""

    def call(self, anchor, positive, negative):
        ap_distance = ops.sum(tf.square(anchor - positive), -1)
        an_distance = ops.sum(tf.square(anchor - negative), -1)
        return (ap_distance, an_distance)


inputs = [
    layers.Input(name=n, shape=(*target_shape, 3)) for n in ("anchor", "positive", "negative")
]
distances = DistanceLayer()(*[embedding(each) for each in inputs])
siamese_network = Model(inputs=inputs, outputs=distances)
# fault SD401: embedding.trainable = False
embedding.trainable = True


class SiameseModel(Model):
    def __init__(self, siamese_network, margin=0.5):
        super().__init__()
        self.siamese_network = siamese_network
        self.margin = margin
        self.loss_tracker = metrics.Mean(name="loss")

    def call(self, inputs):
        return self.siamese_network(inputs)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self._compute_loss(data)
        gradients = tape.gradient(loss, self.siamese_network.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.siamese_network.trainable_weights))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}

    def _compute_loss(self, data):
        ap_distance, an_distance = self.siamese_network(data)
        return tf.maximum(ap_distance - an_distance + self.margin, 0.0)

    @property
    def metrics(self):
        return [self.loss_tracker]


siamese_model = SiameseModel(siamese_network)
siamese_model.compile(optimizer=optimizers.Adam(0.0001))  # named
siamese_model.fit(dataset, epochs=2)
