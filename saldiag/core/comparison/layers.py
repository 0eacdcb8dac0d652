"""Matches the layers of two networks.

Keras numbers the layers that have no name of their own (``dense_2``), so one more layer at the
start renames all that follow. Where a name is Keras' own, the number behind it is looked through.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

from saldiag.core.measurement import LayerCall, Wiring

Key = Callable[[str], Any]


class Layers:
    """The leaf calls of a network by path, in order of execution; ``stems`` have no numbers."""

    def __init__(self, wiring: Wiring) -> None:
        kinds = {call.path: call.kind for call in wiring.calls}
        self.calls = {call.path: call for call in wiring.calls if call.leaf}
        self.stems = {path: _stem(path, kinds) for path in self.calls}

    def shape(self, path: str) -> tuple[Any, ...]:
        """What identifies a call among its neighbours: name, class and output shape."""
        call = self.calls[path]
        return (self.stems[path], call.kind, call.output_shapes)


def _stem(path: str, kinds: dict[str, str]) -> str:
    """A call's path without the numbers that Keras appended."""
    names = path.split("/")
    ways = ["/".join(names[: count + 1]) for count in range(len(names))]
    return "/".join(_unnumbered(n, kinds.get(w, "")) for n, w in zip(names, ways, strict=True))


def _unnumbered(name: str, kind: str) -> str:
    given = _snake(kind)
    return re.sub(rf"^{re.escape(given)}_\d+(?=$|#)", given, name) if given else name


def _snake(kind: str) -> str:
    """Keras' default name of a layer of that class."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()


def partners(one: Layers, two: Layers) -> dict[str, str]:
    """Paths in ``one`` to those of the same layer calls in ``two``; the same read backwards.

    First those that agree in name, class and shape, in order; of what is left, those of the same
    path, then those of the same name in order.
    """
    paths = (list(one.calls), list(two.calls))
    shapes = ([one.shape(path) for path in paths[0]], [two.shape(path) for path in paths[1]])
    pairs = dict(_aligned(paths, shapes))
    _pair_up(pairs, paths, (lambda path: path, lambda path: path))
    _pair_up(pairs, paths, (one.stems.__getitem__, two.stems.__getitem__))
    return {path: pairs[path] for path in paths[0] if path in pairs}


def _aligned(
    paths: tuple[list[str], list[str]], shapes: tuple[list[Any], list[Any]]
) -> list[tuple[str, str]]:
    """Pairs along the longest common sequences; the order of the networks does not matter."""
    if repr(shapes[1]) < repr(shapes[0]):
        return [(a, b) for b, a in _aligned((paths[1], paths[0]), (shapes[1], shapes[0]))]
    matcher = difflib.SequenceMatcher(None, *shapes, autojunk=False)
    return [
        (paths[0][block.a + i], paths[1][block.b + i])
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    ]


def _pair_up(
    pairs: dict[str, str], paths: tuple[list[str], list[str]], keys: tuple[Key, Key]
) -> None:
    """Pair remaining calls of both networks with the same key, in order."""
    free: dict[Any, list[str]] = {}
    taken = set(pairs.values())
    for path in paths[1]:
        if path not in taken:
            free.setdefault(keys[1](path), []).append(path)
    for path in paths[0]:
        if path not in pairs and free.get(keys[0](path)):
            pairs[path] = free[keys[0](path)].pop(0)


def common_inputs(
    networks: list[Layers], pairs: list[dict[str, str]]
) -> list[dict[str, tuple[str, ...]]]:
    """For each call of each network the nearest calls upstream that all networks have.

    They are identified by their paths in the first network: an inserted layer does not change the
    inputs of the layers after it.
    """
    common = set.intersection(*(set(pair) for pair in pairs))
    return [
        _upstream(network.calls, {path: base for base, path in pair.items() if base in common})
        for network, pair in zip(networks, pairs, strict=True)
    ]


def _upstream(calls: dict[str, LayerCall], common: dict[str, str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for path, call in calls.items():  # in order of execution: what is upstream was there before
        near: list[str] = []
        for source in call.inputs:
            near += [common[source]] if source in common else found.get(source, ())
        found[path] = tuple(dict.fromkeys(near))
    return found
