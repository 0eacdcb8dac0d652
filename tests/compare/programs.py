"""The programs to compare: those in ``kinds``, and those of ``tests/programs``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.seeded_programs import arguments_of

HERE = Path(__file__).parent
OTHERS = HERE.parent / "programs"

HEADER = """\
import os, random, sys
import numpy as np
import keras
import tensorflow as tf
from compare_digest import finish
keras.utils.set_random_seed(7)
r = np.random.default_rng(0)
x = r.normal(size=(64, 8)).astype("float32")
y = x[:, :1] * 2 - x[:, 1:2]
labels = (x[:, 0] > 0).astype("int32")
def mlp(*inside):
    first, last = keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)
    return keras.Sequential([keras.Input((8,)), first, *inside, last])
"""
FOOTER = "\nfinish(globals())\n"

SAMPLE_SIZE = 4
"""Programs in a sample; they rotate with the key."""

EXPECTED = {
    "gan_train_step_with_noise": (
        "TensorFlow's arithmetic optimization rewrites this step in another way if something else"
        " reads its gradients: the last bit differs"
    ),
    "loss_counting_in_python": (
        "saldiag calls the loss to examine it, and a counter that is a Python object moves on"
    ),
}
"""Programs that cannot end as they do in plain Python, each with its reason."""


@dataclass(frozen=True)
class Program:
    """A program to run."""

    name: str
    """Unique among all programs."""
    group: str
    """The file in ``kinds`` that it is from, or ``programs``."""
    source: str
    """The whole text, which ends by printing the digests."""
    arguments: tuple[str, ...] = ()
    """What follows the program's name on the command line."""

    @property
    def expected(self) -> str:
        """Why it cannot end as in plain Python; empty if it can."""
        return EXPECTED.get(self.name, "")


def all_programs() -> list[Program]:
    """Every program, by group and name."""
    found = [p for path in sorted((HERE / "kinds").glob("*.txt")) for p in _sections(path)]
    for path in sorted(OTHERS.glob("*.py")):
        # A program that ends with its exit code would not reach its digests.
        text = path.read_text(encoding="utf-8").replace("sys.exit(main())", "main()")
        source = f"{text}\nfrom compare_digest import finish{FOOTER}"
        found.append(Program(path.stem, "programs", source, arguments_of(path)))
    return found


def sample_programs(programs: Sequence[Program], key: str) -> list[Program]:
    """``SAMPLE_SIZE`` of the programs, chosen by a key; as the key changes, all come up."""
    order = sorted(programs, key=lambda p: hashlib.sha256(f"{key} {p.name}".encode()).digest())
    return order[:SAMPLE_SIZE]


def _sections(path: Path) -> Iterator[Program]:
    """A file holds the programs one after the other, each under a line ``# %% name``."""
    for section in path.read_text(encoding="utf-8").split("# %% ")[1:]:
        name, _, body = section.partition("\n")
        yield Program(name.strip(), path.stem, HEADER + body + FOOTER)
