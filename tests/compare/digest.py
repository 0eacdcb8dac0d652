# ruff: noqa: T201 - a script that prints
"""Copied beside each program as ``compare_digest``: prints the state that it ends with.

It imports only what the program imports, and is not used by saldiag.
"""

from __future__ import annotations

import hashlib
import random
import sys
import types
from collections.abc import Iterator
from typing import Any

END = "#end"
"""The last line that a program prints; what follows is not the program's."""

_done: list[bool] = []


def finish(names: dict[str, Any]) -> None:
    """Print a digest of each kind of state that the objects in ``names`` hold, then the draws.

    Args:
        names: the program's ``globals()``.
    """
    if _done:
        return
    _done.append(True)
    import keras
    import tensorflow as tf

    for name, thing in _reachable(names):
        if isinstance(thing, keras.Model):
            _print("model", thing.name, *_values(thing.variables))
        elif isinstance(thing, (keras.optimizers.Optimizer, keras.metrics.Metric)):
            _print(type(thing).__name__, name, *_values(thing.variables))
        elif isinstance(thing, keras.random.SeedGenerator):
            _print("seeds", name, *_values([thing.state]))
        elif isinstance(thing, tf.random.Generator):
            _print("generator", name, *_values([thing.state]))
        elif isinstance(thing, (tf.Variable, keras.Variable)):
            _print("variable", name, *_values([thing]))
    _print_draws(keras, tf)
    print(END, flush=True)


def _print_draws(keras: Any, tf: Any) -> None:
    """What every generator draws next, and the next automatic name."""
    import numpy as np

    print("#random", random.random())
    print("#numpy", np.random.rand())  # noqa: NPY002 - the global state is compared
    print("#tensorflow", float(tf.random.uniform(())), float(tf.random.normal((), seed=3)))
    print("#traced", float(tf.function(lambda: tf.random.normal(()))()))
    print("#keras", float(keras.random.uniform(())))
    print("#initializer", float(keras.initializers.GlorotUniform()((1, 1))[0, 0]))
    print("#name", keras.layers.Dense(1).name, keras.Sequential().name)


def _print(kind: str, name: str, *values: Any) -> None:
    total = hashlib.sha256()
    for value in values:
        total.update(f"{value.dtype} {value.shape}".encode())
        total.update(value.tobytes())
    print(f"#{kind} {name} {len(values)} {total.hexdigest()[:24]}")


def _values(variables: Any) -> list[Any]:
    import numpy as np

    return [np.ascontiguousarray(v.numpy()) for v in variables]


def _reachable(names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Objects with state that the program's names lead to, each once, with the way to it."""
    seen: set[int] = set()
    waiting = [(name, value) for name, value in names.items() if not name.startswith("__")]
    while waiting:
        name, value = waiting.pop(0)
        if id(value) in seen or isinstance(value, types.ModuleType):
            continue
        seen.add(id(value))
        yield name, value
        waiting += [(f"{name}.{part}", held) for part, held in _parts(value)]


def _parts(value: Any) -> list[tuple[str, Any]]:
    """What a container, a closure, an optimizer's owner or an object of the program holds."""
    if isinstance(value, dict):
        return [(str(key), held) for key, held in value.items()]
    if isinstance(value, (list, tuple)):
        return [(str(number), held) for number, held in enumerate(value)]
    function = getattr(value, "python_function", value)
    if isinstance(function, types.FunctionType):
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        return [(name, cell.cell_contents) for name, cell in cells if _is_filled(cell)]
    parts = [("optimizer", getattr(value, "optimizer", None))]
    if type(value).__module__ == "__main__":
        parts += [(k, v) for k, v in vars(value).items() if not k.startswith("_")]
    return [(name, held) for name, held in parts if held is not None]


def _is_filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    sys.exit("import this module in a program")
