"""A frozen encoder with BatchNorm in inference mode; the BatchNorms behind it lag in validation.

The encoder's statistics are far from their start values, as those of pretrained weights are.
"""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, keras, layers, np
from saldiag.selftest.validation_data import colour_data, fit_arguments, split_items

EXPECT = "SD802"
FORMS = ("sequential", "functional", "subclassed")


def _encoder(seed: int) -> Any:
    """A convolution whose output BatchNorm brings from far away to zero mean and unit variance."""
    encoder = keras.Sequential([
        keras.Input((12, 12, 3)),
        layers.Conv2D(12, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
    ], name="encoder")  # fmt: skip
    random = np.random.default_rng(seed)
    encoder.layers[0].set_weights([0.3 * random.choice([-1.0, 1.0], size=(3, 3, 3, 12))])
    features = encoder.layers[0](random.uniform(0, 1, size=(32, 12, 12, 3)).astype("float32"))
    encoder.layers[1].moving_mean.assign(np.asarray(features).mean((0, 1, 2)))
    encoder.layers[1].moving_variance.assign(np.asarray(features).var((0, 1, 2)))
    encoder.trainable = False
    return encoder


def _program(form: str, seed: int, momentum: float) -> Program:
    parts = [
        _encoder(seed),
        layers.DepthwiseConv2D(3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=momentum),
        layers.ReLU(),
        layers.Conv2D(12, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=momentum),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = compile_model(build_chain(form, (12, 12, 3), parts), "sparse_categorical_crossentropy")
    train, held_out = split_items(colour_data(seed), 96)
    return Program(model, [train], fit=fit_arguments(train, held_out, epochs=4))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 0.99)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 0.8)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
