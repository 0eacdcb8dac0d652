#!/usr/bin/env python
"""A program with a command line: python command_line.py --epochs 3 --clip 1.0"""
# arguments: --epochs 3 --units 16 24

import argparse
import logging
import sys

import numpy as np

logger = logging.getLogger(__name__)


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--units", type=int, nargs="+", default=[32])
    parser.add_argument("--clip", type=float, default=5.0)
    return parser.parse_args(argv)


def get_data(seed=30):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(256, 12)).astype(np.float32)
    return x, (x @ rng.normal(size=(12, 1)) / 3 + rng.normal(size=(256, 1)) / 10).astype(np.float32)


def get_model(units, clip):
    import keras

    keras.utils.set_random_seed(30)
    model = keras.Sequential(name="regression")
    model.add(keras.Input((12,)))
    for number in units:
        # fault SD109: model.add(keras.layers.Dense(number))
        model.add(keras.layers.Dense(number, activation="elu"))
    model.add(keras.layers.Dense(1))
    model.compile(optimizer=keras.optimizers.SGD(0.02, clipnorm=clip), loss="mse")
    return model


def main(argv=None):
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO)
    x, y = get_data()
    model = get_model(args.units, args.clip)
    history = model.fit(x, y, epochs=args.epochs, batch_size=16, verbose=0)
    logger.info("final loss %.3f", history.history["loss"][-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
