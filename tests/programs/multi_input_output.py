"""The functional API's ticket model: three inputs, a priority and a department."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(21)
num_tags, num_words, num_departments = 6, 100, 3

title_input = keras.Input(shape=(None,), name="title")
body_input = keras.Input(shape=(None,), name="body")
tags_input = keras.Input(shape=(num_tags,), name="tags")

title_features = layers.Embedding(num_words, 16)(title_input)
body_features = layers.Embedding(num_words, 16)(body_input)
title_features = layers.GlobalAveragePooling1D()(title_features)
body_features = layers.GlobalMaxPooling1D()(body_features)
x = layers.concatenate([title_features, body_features, tags_input])

priority_pred = layers.Dense(1, name="priority")(x)
department_pred = layers.Dense(num_departments, "softmax", name="department")(x)
model = keras.Model(
    inputs=[title_input, body_input, tags_input],
    outputs={"priority": priority_pred, "department": department_pred},
)

department = np.random.randint(0, num_departments, 256)
title_data = np.random.randint(0, 30, (256, 8)) + 30 * department[:, None]
body_data = np.random.randint(0, num_words, (256, 10))
tags_data = np.random.randint(0, 2, (256, num_tags)).astype("float32")
priority_targets = (tags_data[:, :1] > 0).astype("float32")
dept_targets = keras.utils.to_categorical(department, num_departments)

model.compile(  # named
    optimizer=keras.optimizers.RMSprop(1e-3),
    loss={
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        # fault SD118: "department": None,
        "department": keras.losses.CategoricalCrossentropy(),
    },
    loss_weights={"priority": 1.0, "department": 0.2},
)
model.fit(
    {"title": title_data, "body": body_data, "tags": tags_data},
    {"priority": priority_targets, "department": dept_targets},
    epochs=2,
    batch_size=32,
)
