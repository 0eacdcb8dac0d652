"""Structured data classification: StringLookup, IntegerLookup and Normalization on a frame."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(6)
count = 256
dataframe = pd.DataFrame(
    {
        "age": np.random.randint(29, 78, count),
        "sex": np.random.randint(0, 2, count),
        "chol": np.random.normal(246, 52, count),
        "thal": np.random.choice(["fixed", "normal", "reversible"], count),
    }
)
risk = (dataframe["chol"] - 246) / 52 + (dataframe["thal"] == "reversible") * 2 - 0.7
dataframe["target"] = (risk + np.random.normal(0, 0.3, count) > 0).astype(int)

val_dataframe = dataframe.sample(frac=0.2, random_state=1337)
train_dataframe = dataframe.drop(val_dataframe.index)


def dataframe_to_dataset(dataframe):
    dataframe = dataframe.copy()
    labels = dataframe.pop("target")
    ds = tf.data.Dataset.from_tensor_slices((dict(dataframe), labels))
    return ds.shuffle(buffer_size=len(dataframe)).batch(32)


train_ds = dataframe_to_dataset(train_dataframe)
val_ds = dataframe_to_dataset(val_dataframe)


def encode_numerical_feature(feature, name, dataset):
    normalizer = layers.Normalization(axis=None)
    feature_ds = dataset.map(lambda x, y: tf.expand_dims(x[name], -1))
    normalizer.adapt(feature_ds)
    # fault SD601: return feature
    return normalizer(feature)


def encode_categorical_feature(feature, name, dataset, is_string):
    lookup_class = layers.StringLookup if is_string else layers.IntegerLookup
    lookup = lookup_class(output_mode="one_hot")
    lookup.adapt(dataset.map(lambda x, y: tf.expand_dims(x[name], -1)))
    return lookup(feature)


sex = keras.Input(shape=(1,), name="sex", dtype="int64")
thal = keras.Input(shape=(1,), name="thal", dtype="string")
age = keras.Input(shape=(1,), name="age")
chol = keras.Input(shape=(1,), name="chol")
all_inputs = [sex, thal, age, chol]

all_features = layers.concatenate(
    [
        encode_categorical_feature(sex, "sex", train_ds, False),
        encode_categorical_feature(thal, "thal", train_ds, True),
        encode_numerical_feature(age, "age", train_ds),
        encode_numerical_feature(chol, "chol", train_ds),
    ]
)
x = layers.Dense(32, activation="relu")(all_features)
x = layers.Dropout(0.5)(x)
output = layers.Dense(1, activation="sigmoid")(x)
model = keras.Model(all_inputs, output)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(train_ds, epochs=5, validation_data=val_ds, verbose=2)  # named

sample = {"age": 60, "sex": 1, "chol": 233.0, "thal": "fixed"}
input_dict = {name: tf.convert_to_tensor([[value]]) for name, value in sample.items()}
predictions = model.predict(input_dict)
