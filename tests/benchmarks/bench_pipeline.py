"""Throughput of the input pipeline beside that of a ``tf.py_function`` loader.

Run as a script::

    python tests/benchmarks/bench_pipeline.py [DATA] [--image-size 224] [--batch-size 32]

The other loader is the usual one: paths through ``tf.py_function`` into Pillow and numpy, mapped in
parallel and prefetched. Both give the same batches. Rounds alternate between the loaders, so that
what else the machine does falls on all of them; the table shows medians, and the ratio of each
round's pair, which is what counts. A step of a model is not part of it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from saldiag.image_masks.msra10k import open_dataset
from saldiag.image_masks.pipeline import make_dataset
from saldiag.image_masks.storage import FileRef, Item

REFERENCE = "tf.py_function"


def py_function_dataset(items: Sequence[Item], size: int, batch_size: int) -> tf.data.Dataset:
    """The loader to compare with."""

    def load(image_path: Any, mask_path: Any) -> tuple[np.ndarray, np.ndarray]:
        with Image.open(image_path.numpy()) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
            image = np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR), np.float32)
        with Image.open(mask_path.numpy()) as picture:
            mask = np.asarray(picture.convert("L").resize((size, size), Image.Resampling.NEAREST))
        return image / 127.5 - 1.0, (mask >= 128).astype(np.float32)[..., None]

    def mapped(image_path: Any, mask_path: Any) -> tuple[Any, Any]:
        image, mask = tf.py_function(load, (image_path, mask_path), (tf.float32, tf.float32))
        return tf.ensure_shape(image, (size, size, 3)), tf.ensure_shape(mask, (size, size, 1))

    paths = [
        [os.fspath(ref.path) for ref in (i.image, i.mask) if isinstance(ref, FileRef)]
        for i in items
    ]
    images, masks = zip(*paths, strict=True)
    dataset = tf.data.Dataset.from_tensor_slices((list(images), list(masks)))
    dataset = dataset.map(mapped, tf.data.AUTOTUNE).batch(batch_size)
    return dataset.repeat().prefetch(2)


def throughput(dataset: tf.data.Dataset, count: int) -> float:
    """Pairs a second over ``count`` pairs, after the first batch.

    A fresh iterator, so that nothing was decoded beforehand, which nobody else shares the cores
    with: it ends with this function.
    """
    batches = iter(dataset)
    next(batches)
    start, seen = time.perf_counter(), 0
    while seen < count:
        seen += int(next(batches)[0].shape[0])
    return seen / (time.perf_counter() - start)


def measure(loaders: dict[str, tf.data.Dataset], count: int, rounds: int) -> dict[str, list[float]]:
    """Pairs a second of each loader in each round; one round more, the first, warms up."""
    measured: dict[str, list[float]] = {name: [] for name in loaders}
    for number in range(rounds + 1):
        for name, dataset in loaders.items():
            rate = throughput(dataset, count)
            if number:
                measured[name].append(rate)
    return measured


def table(measured: dict[str, list[float]]) -> Table:
    """Medians and ratios; the range of the ratios shows how far they can be trusted."""
    shown = Table("loader", "pairs/s", "ratio", "from", "to")
    for name, rates in measured.items():
        ratios = [rate / base for rate, base in zip(rates, measured[REFERENCE], strict=True)]
        numbers = (statistics.median(ratios), min(ratios), max(ratios))
        shown.add_row(name, f"{statistics.median(rates):.0f}", *(f"{n:.2f}" for n in numbers))
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, help="folder; default: the built-in sample")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    size, batch = options.image_size, options.batch_size
    loaders = {
        REFERENCE: py_function_dataset(dataset.items, size, batch),
        "saldiag, every epoch from files": make_dataset(
            dataset.items, size, batch, repeat=True, shuffle_seed=0, cache=False
        ),
        "saldiag, cached": make_dataset(
            dataset.items, size, batch, repeat=True, shuffle_seed=0, cache=True
        ),
    }
    console = Console()
    console.print(f"{len(dataset)} pairs, {size} x {size}, batch {batch}, {os.cpu_count()} cores")
    console.print(table(measure(loaders, max(2 * len(dataset), 240), options.rounds)))


if __name__ == "__main__":
    main()
