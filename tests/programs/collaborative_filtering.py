"""Collaborative filtering for movie recommendations: a subclassed model of embeddings."""

import keras
import numpy as np
import pandas as pd
from keras import layers, ops

keras.utils.set_random_seed(23)
num_users, num_movies, count = 30, 40, 1024
taste = np.random.normal(0, 1, (num_users, 2)) @ np.random.normal(0, 1, (2, num_movies))
df = pd.DataFrame(
    {
        "user": np.random.randint(num_users, size=count),
        "movie": np.random.randint(num_movies, size=count),
    }
)
df["rating"] = np.clip(np.round(3 + taste[df["user"], df["movie"]]), 0.5, 5)
min_rating, max_rating = min(df["rating"]), max(df["rating"])

df = df.sample(frac=1, random_state=42)
x = df[["user", "movie"]].values
# Normalize the targets between 0 and 1. Makes it easy to train.
# fault SD602: y = df["rating"].values
y = df["rating"].apply(lambda x: (x - min_rating) / (max_rating - min_rating)).values
train_indices = int(0.9 * df.shape[0])
x_train, x_val = x[:train_indices], x[train_indices:]
y_train, y_val = y[:train_indices], y[train_indices:]


class RecommenderNet(keras.Model):
    def __init__(self, num_users, num_movies, embedding_size, **kwargs):
        super().__init__(**kwargs)
        regularizer = keras.regularizers.l2(1e-6)
        self.user_embedding = layers.Embedding(
            num_users,
            embedding_size,
            embeddings_initializer="he_normal",
            embeddings_regularizer=regularizer,
        )
        self.user_bias = layers.Embedding(num_users, 1)
        self.movie_embedding = layers.Embedding(
            num_movies,
            embedding_size,
            embeddings_initializer="he_normal",
            embeddings_regularizer=regularizer,
        )
        self.movie_bias = layers.Embedding(num_movies, 1)

    def call(self, inputs):
        user_vector = self.user_embedding(inputs[:, 0])
        user_bias = self.user_bias(inputs[:, 0])
        movie_vector = self.movie_embedding(inputs[:, 1])
        movie_bias = self.movie_bias(inputs[:, 1])
        dot_user_movie = ops.tensordot(user_vector, movie_vector, 2)
        # Add all the components (including bias)
        x = dot_user_movie + user_bias + movie_bias
        # The sigmoid activation forces the rating to between 0 and 1
        return ops.nn.sigmoid(x)


model = RecommenderNet(num_users, num_movies, 10)
model.compile(
    loss=keras.losses.BinaryCrossentropy(), optimizer=keras.optimizers.Adam(learning_rate=0.001)
)
history = model.fit(  # named
    x=x_train, y=y_train, batch_size=64, epochs=3, verbose=1, validation_data=(x_val, y_val)
)
