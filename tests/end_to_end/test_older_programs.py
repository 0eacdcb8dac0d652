"""Whole programs in the style of Keras 1 and 2, run with ``--compat``."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

DIGITS = """
'''Trains a small convnet on made-up digits.'''
from __future__ import print_function
import numpy as np
import keras
from keras.models import Sequential
from keras.layers.core import Dense, Dropout, Activation, Flatten
from keras.layers.convolutional import Convolution2D, MaxPooling2D
from keras.preprocessing.image import ImageDataGenerator
from keras.utils import np_utils
from keras.optimizers import SGD
from keras.callbacks import EarlyStopping, ModelCheckpoint
from keras import backend as K

keras.utils.set_random_seed(1337)
nb_classes = 3
nb_epoch = 2
labels = np.random.randint(0, nb_classes, 96).astype(np.int)
X_train = np.random.rand(96, 12, 12, 1).astype(np.float) * 0.3
for i, label in enumerate(labels):
    X_train[i, 4 * label:4 * label + 4] += 0.7
assert K.image_dim_ordering() == 'tf'
Y_train = np_utils.to_categorical(labels, nb_classes)

model = Sequential()
model.add(Convolution2D(8, 3, 3, border_mode='valid', input_shape=(12, 12, 1)))
model.add(Activation('relu'))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(p=0.1))
model.add(Flatten())
model.add(Dense(output_dim=16, init='glorot_uniform'))
model.add(Activation('relu'))
model.add(Dense(nb_classes))
model.add(Activation('softmax'))
model.compile(loss='categorical_crossentropy', metrics=['accuracy'],
              optimizer=SGD(lr=0.05, decay=1e-4, momentum=0.9, nesterov=True))
datagen = ImageDataGenerator(width_shift_range=0.1)
datagen.fit(X_train)
history = model.fit_generator(
    datagen.flow(X_train, Y_train, batch_size=16), samples_per_epoch=96, nb_epoch=nb_epoch,
    validation_data=(X_train, Y_train), verbose=0, workers=1,
    callbacks=[EarlyStopping(monitor='val_acc', patience=2),
               ModelCheckpoint('w.{epoch:02d}-{val_acc:.2f}.hdf5', monitor='val_acc')])
classes = model.predict_classes(X_train, verbose=0)
assert max(history.history['val_acc']) > 0.9
assert np.mean(classes == labels) > 0.9
K.set_value(model.optimizer.lr, 0.01)
"""

TEXT = """
'''Good words and bad ones.'''
import numpy as np
import keras
from keras.preprocessing.text import Tokenizer
from keras.preprocessing import sequence
from keras.models import Sequential
from keras.layers.core import Dense
from keras.layers.embeddings import Embedding
from keras.layers.recurrent import LSTM

keras.utils.set_random_seed(3)
texts = ['good fine nice %d' % i if i % 2 else 'bad poor sad %d' % i for i in range(96)]
y = np.array([i % 2 for i in range(96)], dtype=np.int)
tokenizer = Tokenizer(num_words=50)
tokenizer.fit_on_texts(texts)
X = sequence.pad_sequences(tokenizer.texts_to_sequences(texts), maxlen=6)
model = Sequential()
model.add(Embedding(input_dim=50, output_dim=8, dropout=0.2))
model.add(LSTM(output_dim=8, dropout_W=0.1, inner_activation='hard_sigmoid'))
model.add(Dense(1, activation='{activation}', input_dim=8))
model.compile('rmsprop', 'binary_crossentropy', metrics=['accuracy'], class_mode='binary')
h = model.fit(X, y, batch_size=16, nb_epoch=3, validation_data=(X, y), verbose=0)
assert len(h.history['acc']) == len(h.history['val_acc']) == 3
assert model.predict_proba(X, verbose=0).shape == (96, 1)
"""

FUNCTIONAL = """
'''A layer and a loss in functions of the backend.'''
import numpy as np
import keras
import keras.backend as K
from keras.callbacks import Callback, ReduceLROnPlateau
from keras.engine.topology import Layer
from keras.layers import Input, Dense, merge
from keras.layers.advanced_activations import LeakyReLU
from keras.layers.normalization import BatchNormalization
from keras.models import Model, load_model
from keras.optimizers import Adam

keras.utils.set_random_seed(3)
class Scale(Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(name='scale', shape=(input_shape[-1],), initializer='ones')
        super(Scale, self).build(input_shape)
    def call(self, x):
        return x * K.sqrt(K.square(self.scale) + K.epsilon())

def loss(y_true, y_pred):
    y_true, y_pred = K.flatten(y_true), K.flatten(K.clip(y_pred, -10., 10.))
    return K.mean(K.square(y_pred - y_true), axis=-1) + 0. * K.sum(K.abs(y_pred))

rates = []
class Rates(Callback):
    def on_epoch_end(self, epoch, logs={}):
        rates.append(float(K.get_value(self.model.optimizer.lr)))

x = np.random.randn(96, 6).astype('float32')
mask = (x.sum(axis=1) > 0).astype(np.bool)
y = x.sum(axis=1, keepdims=True) * mask[:, None]
a = Input(shape=(6,))
h = merge([LeakyReLU()(Dense(16, init='he_normal')(a)), Scale()(Dense(16)(a))], mode='concat')
h = BatchNormalization(mode=0, axis=-1)(h)
model = Model(input=a, output=Dense(1)(h))
model.compile(optimizer=Adam(lr=0.01, epsilon=None, decay=0.001), loss=loss, metrics=['mse'])
callbacks = [ReduceLROnPlateau(monitor='loss', patience=1, epsilon=100., factor=0.5), Rates()]
first = model.evaluate(x, y, verbose=0)[0]
model.fit(x, y, nb_epoch=6, batch_size=16, verbose=0, callbacks=callbacks)
assert model.evaluate(x, y, verbose=0)[0] < first / 2
assert rates[-1] < rates[0]
model.optimizer.lr = 0.002
model.save('whole.h5')
again = load_model('whole.h5', custom_objects={'loss': loss, 'Scale': Scale})
assert np.allclose(again.predict(x, verbose=0), model.predict(x, verbose=0))
assert abs(float(K.get_value(again.optimizer.lr)) - 0.002) < 1e-3
"""


NOTES = {
    "digits": [
        ("layers.core import", "keras.layers.core is no longer supported: use keras.layers"),
        ("astype(np.int)", "numpy.int is no longer supported: use int"),
        (
            "model.fit_generator(",
            "keras.Model.fit_generator is no longer supported: use model.fit",
        ),
        ("['val_acc'])", "history['acc'] is no longer supported: use history['accuracy']"),
    ],
    "text": [
        ("dropout=0.2", "dropout= of keras.layers.Embedding is no longer supported: remove it"),
        ("nb_epoch=3", "nb_epoch= of keras.Model.fit is no longer supported: use epochs="),
    ],
    "functional": [
        ("K.square(self", "keras.backend.square is no longer supported: use keras.ops.square"),
        ("decay=0.001", "decay= of keras.optimizers.Optimizer is no longer supported: use"),
    ],
}
"""By program: a part of its line, and what is said of it."""


@pytest.mark.parametrize("name", NOTES)
def test_they_run_and_train(program, name, tmp_path):
    code = {"digits": DIGITS, "functional": FUNCTIONAL, "text": TEXT.format(activation="sigmoid")}
    result, found, shown = program(code[name], compat=True)
    assert "Traceback" not in shown.err
    assert result == 0, [f["message"] for f in found["findings"]]
    told = [line for line in shown.err.splitlines() if " is no longer supported: " in line]
    assert len({line.partition(": ")[2] for line in told}) == len(told), "each is told once"
    kept = [(tmp_path / "run" / file).read_text() for file in ("run.json", "report.html")]
    for part, note in NOTES[name]:
        line = next(n for n, text in enumerate(code[name].splitlines(), 1) if part in text)
        assert [one for one in told if one.startswith(f"program.py:{line}: {note}")], told
        assert all(f"program.py:{line}: " in text for text in kept)


def test_a_fault_is_found_with_its_line(program):
    result, found, _ = program(TEXT.format(activation="softmax"), compat=True)
    assert result == 1
    assert found["root_cause"]["rule"] == "SD101"
    source = found["root_cause"]["source"]
    assert source["text"] == "model.add(Dense(1, activation='softmax', input_dim=8))"
