"""Image similarity with a siamese network and a contrastive loss."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(14)


def make_pairs(x, y):
    """Pairs of the same class with label 0, and of different classes with label 1."""
    digit_indices = [np.where(y == i)[0] for i in range(3)]
    pairs, labels = [], []
    for idx1 in range(len(x)):
        same = np.random.choice(digit_indices[y[idx1]])
        other = np.random.choice(digit_indices[(y[idx1] + np.random.randint(1, 3)) % 3])
        pairs += [[x[idx1], x[same]], [x[idx1], x[other]]]
        labels += [0, 1]
    return np.array(pairs), np.array(labels).astype("float32")


y = np.random.randint(0, 3, 128)
x = np.random.normal(0, 0.2, (128, 12, 12)).astype("float32")
for image, label in zip(x, y):
    image[4 * label : 4 * label + 4] += 1
pairs_train, labels_train = make_pairs(x, y)
x_train_1, x_train_2 = pairs_train[:, 0], pairs_train[:, 1]


def euclidean_distance(vects):
    x, y = vects
    sum_square = ops.sum(ops.square(x - y), axis=1, keepdims=True)
    return ops.sqrt(ops.maximum(sum_square, keras.backend.epsilon()))


input = layers.Input((12, 12, 1))
x = layers.Conv2D(4, (5, 5), activation="tanh")(input)
x = layers.AveragePooling2D(pool_size=(2, 2))(x)
x = layers.Flatten()(x)
x = layers.Dense(10, activation="tanh")(x)
embedding_network = keras.Model(input, x)

input_1 = layers.Input((12, 12, 1))
input_2 = layers.Input((12, 12, 1))

# Twin networks: the weights are shared.
tower_1 = embedding_network(input_1)
tower_2 = embedding_network(input_2)

merge_layer = layers.Lambda(euclidean_distance, output_shape=(1,))([tower_1, tower_2])
normal_layer = layers.BatchNormalization()(merge_layer)
output_layer = layers.Dense(1, activation="sigmoid")(normal_layer)
siamese = keras.Model(inputs=[input_1, input_2], outputs=output_layer)


def loss(margin=1):
    def contrastive_loss(y_true, y_pred):
        square_pred = ops.square(y_pred)
        margin_square = ops.square(ops.maximum(margin - y_pred, 0))
        # fault SD708: return ops.mean(square_pred + margin_square)
        return ops.mean((1 - y_true) * square_pred + y_true * margin_square)

    return contrastive_loss


siamese.compile(loss=loss(margin=1), optimizer="RMSprop", metrics=["accuracy"])  # named
siamese.summary()
history = siamese.fit([x_train_1, x_train_2], labels_train, batch_size=16, epochs=3)
