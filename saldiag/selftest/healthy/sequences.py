"""Recurrent networks, attention, and what reads words."""

from typing import Any

from saldiag.selftest.program import Program, compile_model, keras, layers, token_data


def _program(seed: int, *parts: Any) -> Program:
    whole = [
        keras.Input((10,), dtype="int32"),
        layers.Embedding(20, 16),
        *parts,
        layers.Dense(1, activation="sigmoid"),
    ]
    model = compile_model(keras.Sequential(whole), "binary_crossentropy")
    return Program(model, [token_data(seed)], steps=100)


def lstm(seed: int) -> Program:
    return _program(seed, layers.LSTM(16, go_backwards=True))


def gru_both_ways(seed: int) -> Program:
    stacked = layers.Bidirectional(layers.GRU(8, return_sequences=True))
    return _program(seed, stacked, layers.GRU(16))


def bag_of_words(seed: int) -> Program:
    """Linear but for the sigmoid, as fastText is."""
    return _program(seed, layers.Flatten())


def transformer(seed: int) -> Program:
    inputs = keras.Input((10,), dtype="int32")
    places = layers.Embedding(10, 16)(keras.ops.arange(10))
    x = layers.Embedding(20, 16)(inputs) + places
    attended = layers.MultiHeadAttention(2, 8, dropout=0.1)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    inner = layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
    x = layers.LayerNormalization()(layers.Add()([x, layers.Dropout(0.1)(inner)]))
    outputs = layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))
    model = compile_model(keras.Model(inputs, outputs), "binary_crossentropy", rate=3e-3)
    return Program(model, [token_data(seed)], steps=100)


PROGRAMS = (lstm, gru_both_ways, bag_of_words, transformer)
