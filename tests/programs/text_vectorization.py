"""Text classification from raw strings: TextVectorization in the data pipeline, then Conv1D."""

import re
import string

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(4)
good = "great lovely wonderful moving funny superb brilliant charming".split()
bad = "dull awful boring terrible weak silly clumsy tedious".split()
filler = "the film was a story of two people and <br /> their house in town".split()


def review(label):
    words = list(np.random.choice(filler, 12)) + list(np.random.choice(good if label else bad, 3))
    np.random.shuffle(words)
    return " ".join(words).capitalize() + "."


labels = np.random.randint(0, 2, 256).astype("float32")
texts = [review(label) for label in labels]
raw_train_ds = tf.data.Dataset.from_tensor_slices((texts[:224], labels[:224])).batch(16)
raw_val_ds = tf.data.Dataset.from_tensor_slices((texts[224:], labels[224:])).batch(16)


@keras.saving.register_keras_serializable(package="gallery")
def custom_standardization(input_data):
    lowercase = tf.strings.lower(input_data)
    stripped_html = tf.strings.regex_replace(lowercase, "<br />", " ")
    return tf.strings.regex_replace(stripped_html, f"[{re.escape(string.punctuation)}]", "")


max_features, embedding_dim, sequence_length = 100, 16, 20
vectorize_layer = layers.TextVectorization(
    standardize=custom_standardization,
    max_tokens=max_features,
    output_mode="int",
    output_sequence_length=sequence_length,
)
vectorize_layer.adapt(raw_train_ds.map(lambda x, y: x))


def vectorize_text(text, label):
    return vectorize_layer(tf.expand_dims(text, -1)), label


train_ds = raw_train_ds.map(vectorize_text).cache().prefetch(buffer_size=10)
val_ds = raw_val_ds.map(vectorize_text).cache().prefetch(buffer_size=10)

inputs = keras.Input(shape=(None,), dtype="int64")
x = layers.Embedding(max_features, embedding_dim)(inputs)
x = layers.Dropout(0.5)(x)
x = layers.Conv1D(16, 5, padding="valid", activation="relu", strides=2)(x)
x = layers.Conv1D(16, 5, padding="valid", activation="relu")(x)
x = layers.GlobalMaxPooling1D()(x)
x = layers.Dense(16, activation="relu")(x)
x = layers.Dropout(0.5)(x)
predictions = layers.Dense(1, activation="sigmoid", name="predictions")(x)
# fault SD112: model = keras.Model(inputs, layers.Dropout(0.5)(predictions))
model = keras.Model(inputs, predictions)

model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(train_ds, validation_data=val_ds, epochs=3)

# Make an end-to-end model
raw_inputs = keras.Input(shape=(1,), dtype="string")
end_to_end_model = keras.Model(raw_inputs, model(vectorize_layer(raw_inputs)))
end_to_end_model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
end_to_end_model.evaluate(raw_val_ds)
