"""Small models that classify sentences (a Transformer, a GRU), for seeding faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saldiag.selftest.program import keras, layers, token_data


class Block(layers.Layer):
    """A pre-norm Transformer block: attention and two dense layers, with residual connections."""

    def __init__(self, name: str = "block", *, bias: float = 0.0) -> None:
        super().__init__(name=name)
        self.attention = layers.MultiHeadAttention(2, 8, name="attention")
        self.before, self.between = layers.LayerNormalization(), layers.LayerNormalization()
        start = keras.initializers.Constant(bias)
        self.hidden = layers.Dense(32, activation="relu", bias_initializer=start, name="hidden")
        self.back = layers.Dense(16, name="back")

    def call(self, inputs: Any) -> Any:
        """Embedded words (n, 10, 16) to the same shape."""
        x = self.before(inputs)
        x = inputs + self.attention(x, x)
        return x + self.back(self.hidden(self.between(x)))


def transformer_model(head: Sequence[Any], block: Any = None) -> Any:
    """An uncompiled Transformer for sentences of ten words; ``head`` gets 160 features."""
    inputs = keras.Input((10,), dtype="int32")
    x = layers.Embedding(20, 16)(inputs)
    x = layers.Flatten()((block or Block())(x))
    for part in head:
        x = part(x)
    return keras.Model(inputs, x, name="reader")


def gru_model(head: Sequence[Any]) -> Any:
    """An uncompiled GRU for the same sentences; ``head`` gets 16 features."""
    words = [keras.Input((10,), dtype="int32"), layers.Embedding(20, 8), layers.GRU(16)]
    return keras.Sequential([*words, *head], name="recurrent")


READERS = {"attention": transformer_model, "recurrent": gru_model}
"""Builder of the model by form."""


def topic_data(seed: int) -> tuple[Any, Any]:
    """Token numbers (32, 10), and the class of the first word (its number modulo 3), (32,)."""
    tokens, _ = token_data(seed)
    return tokens, tokens[:, 0] % 3
