"""The picture of the rooms, from the import contract in pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

PATH = "architecture/rooms.svg"
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
WIDTH, MARGIN, GAP, BOX_HEIGHT, ROW_HEIGHT = 760, 8, 8, 38, 82
"""Pixels of the drawing; a row is its boxes, the line of text below them and an arrow."""

PURPOSES = {
    "saldiag.cli": "arguments in, exit code out",
    "saldiag.selftest": "real faulty programs",
    "saldiag.testing": "assertions for pytest",
    "saldiag.app": "the commands: load, examine, judge, write",
    "saldiag.quicksal": "the built-in model",
    "saldiag.experiments": "overfit test, training, validation checks, interventions",
    "saldiag_probes": "measure",
    "saldiag.rules": "judge",
    "saldiag_reports": "show",
    "saldiag.subject": "load and run user code",
    "saldiag.repair": "edit source",
    "saldiag.recipes": "losses and metrics",
    "saldiag.image_masks": "image-and-mask data",
    "saldiag.keras_internals": "private names of Keras and TensorFlow",
    "saldiag.progress": "progress bars on a terminal",
    "saldiag.core": "plain data: measurements, findings, diagnosis, run directory",
}
"""What each room is for; a room without an entry is an error of the build."""


def rows() -> tuple[tuple[tuple[str, ...], ...], frozenset[str]]:
    """The rooms from the top down, and those that never import TensorFlow."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    without = next(
        one["source_modules"]
        for one in contracts
        if one["type"] == "forbidden" and "tensorflow" in one["forbidden_modules"]
    )
    return tuple(tuple(layer.split(" | ")) for layer in layers), frozenset(without)


def pages() -> dict[str, str]:
    """The picture by its path below docs/."""
    layers, without = rows()
    height = MARGIN + len(layers) * ROW_HEIGHT - 12
    parts = [part for index, layer in enumerate(layers) for part in _row(index, layer, without)]
    arrows = [_arrow(MARGIN + index * ROW_HEIGHT - 15) for index in range(1, len(layers))]
    return {
        PATH: "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            ' font-family="system-ui, sans-serif" role="img">',
            "<title>The rooms of saldiag, from the command line down to core</title>",
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
            *parts,
            *arrows,
            "</svg>\n",
        ])
    }  # fmt: skip


def _row(index: int, rooms: tuple[str, ...], without: frozenset[str]) -> Iterator[str]:
    top = MARGIN + index * ROW_HEIGHT
    width = (WIDTH - 2 * MARGIN - (len(rooms) - 1) * GAP) / len(rooms)
    for place, room in enumerate(rooms):
        left = MARGIN + place * (width + GAP)
        fill, stroke = ("#e8f5e9", "#2e7d32") if room in without else ("#e8eaf6", "#3949ab")
        yield (
            f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{BOX_HEIGHT}" rx="6"'
            f' fill="{fill}" stroke="{stroke}"/>'
        )
        size = 15 if len(rooms) <= 3 else 13
        yield _text(left + width / 2, top + 24, room, size, "#1a1a2e")
    yield _text(WIDTH / 2, top + 54, " · ".join(PURPOSES[room] for room in rooms), 12.5, "#555555")


def _text(middle: float, baseline: float, text: str, size: float, colour: str) -> str:
    return (
        f'<text x="{middle:.0f}" y="{baseline:.0f}" font-size="{size}" text-anchor="middle"'
        f' fill="{colour}">{text}</text>'
    )


def _arrow(top: int) -> str:
    return (
        f'<path d="M{WIDTH / 2:.0f} {top} v12 m-5 -5 l5 5 l5 -5" fill="none" stroke="#777777"'
        ' stroke-width="1.5"/>'
    )
