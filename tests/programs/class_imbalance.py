"""Imbalanced classification: credit card fraud with class weights."""

import keras
import numpy as np

keras.utils.set_random_seed(22)
features = np.random.normal(0, 1, (1200, 12)).astype("float32")
features[:, 3] *= 50
targets = (features[:, 0] + features[:, 1] > 2.2).astype("uint8")[:, None]
num_val_samples = int(len(features) * 0.2)
train_features, train_targets = features[:-num_val_samples], targets[:-num_val_samples]
val_features, val_targets = features[-num_val_samples:], targets[-num_val_samples:]

# Analyze class imbalance in the targets
counts = np.bincount(train_targets[:, 0])
print(f"Positive samples in training: {counts[1]} ({100 * counts[1] / len(train_targets):.2f}%)")
weight_for_0 = 1.0 / counts[0]
weight_for_1 = 1.0 / counts[1]

# Normalize the data using training set statistics
mean = np.mean(train_features, axis=0)
train_features -= mean
val_features -= mean
std = np.std(train_features, axis=0)
train_features /= std
val_features /= std

model = keras.Sequential(
    [
        keras.Input(shape=train_features.shape[1:]),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
metrics = [
    keras.metrics.FalseNegatives(name="fn"),
    keras.metrics.Precision(name="precision"),
    keras.metrics.Recall(name="recall"),
]
model.compile(  # named
    optimizer=keras.optimizers.Adam(1e-2), loss="binary_crossentropy", metrics=metrics
)
callbacks = [
    # fault SD709: keras.callbacks.EarlyStopping(monitor="val_recall", mode="min", patience=2),
    keras.callbacks.EarlyStopping(monitor="val_recall", mode="max", patience=2),
    keras.callbacks.ModelCheckpoint("fraud_model_at_epoch_{epoch}.keras"),
]
class_weight = {0: weight_for_0, 1: weight_for_1}
model.fit(
    train_features,
    train_targets,
    batch_size=128,
    epochs=3,
    verbose=2,
    callbacks=callbacks,
    validation_data=(val_features, val_targets),
    class_weight=class_weight,
)
