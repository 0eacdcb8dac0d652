"""Images of the built-in sample: salient objects on a textured background, with exact masks.

Objects are salient for the same reasons as in photographs: they differ from the background in hue
or texture, have a closed outline, and are not small. Other cues must not reveal them: brightness
(objects and backgrounds overlap in it), position (objects are anywhere), or the presence of edges
(stripes, clutter and faint shapes in the background's own colours are not part of the mask).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]
RandomGenerator = np.random.Generator

SMALLEST_SHARE, LARGEST_SHARE = 0.06, 0.5
"""Share of the image that its objects cover; 90 % of MSRA10K's images are within."""
_BRIGHTNESS_RANGE = (0.25, 0.8)
"""Range of HSV values for objects and backgrounds alike."""
_OUTLINE_SECTORS = 2048
"""Radii in the table of an outline; 200 pixels from the centre they are 0.6 pixels apart."""
_SECTOR_ANGLES = (np.arange(_OUTLINE_SECTORS) + 0.5) * (2.0 * np.pi / _OUTLINE_SECTORS) - np.pi


class Picture(NamedTuple):
    """An image uint8 (H, W, 3) and its mask bool (H, W)."""

    image: Array
    mask: Array


def draw_picture(rng: RandomGenerator, height: int, width: int) -> Picture:
    """Draw one image and its mask; the same state of ``rng`` gives the same pair."""
    hue = rng.random()
    canvas = _draw_texture(rng, height, width, hue)
    canvas = _add_clutter(rng, canvas, hue)
    canvas, mask = _add_objects(rng, canvas, hue)
    strength = np.float32(rng.uniform(0.005, 0.025))
    grain = strength * rng.standard_normal(canvas.shape, dtype=np.float32)
    return Picture((np.clip(canvas + grain, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), mask)


def _add_objects(rng: RandomGenerator, canvas: Array, ground_hue: float) -> tuple[Array, Array]:
    """Draw one to three objects on ``canvas``; repeated until their share is in range."""
    height, width = canvas.shape[:2]
    while True:
        count = int(rng.choice((1, 1, 1, 2, 2, 3)))
        covers = [_shape_cover(rng, height, width, count) for _ in range(count)]
        mask = np.max(covers, axis=0) >= 0.5
        if SMALLEST_SHARE <= mask.mean() <= LARGEST_SHARE:
            break
    hue = _other_hue(rng, ground_hue)
    for cover in covers:
        canvas = canvas * (1.0 - np.float32(0.45) * _drop_shadow(cover))[..., None]
        surface = _draw_texture(rng, height, width, hue) * _side_light(rng, cover)[..., None]
        canvas = canvas + cover[..., None] * (surface - canvas)
        hue = hue + rng.normal(0.0, 0.04)
    return canvas, mask


def _other_hue(rng: RandomGenerator, hue: float) -> float:
    return float(hue + rng.uniform(0.22, 0.78)) % 1.0


def _add_clutter(rng: RandomGenerator, canvas: Array, hue: float) -> Array:
    """Draw half-transparent shapes in the background's own colours: none of them is salient."""
    height, width = canvas.shape[:2]
    surfaces = [_draw_texture(rng, height, width, hue + rng.normal(0.0, 0.05)) for _ in range(2)]
    for number in range(int(rng.integers(3, 9))):
        cover = _shape_cover(rng, height, width, count=int(rng.integers(3, 9)))
        opacity = cover * np.float32(rng.uniform(0.25, 0.75))
        canvas = canvas + opacity[..., None] * (surfaces[number % 2] - canvas)
    return canvas


def _shape_cover(rng: RandomGenerator, height: int, width: int, count: int) -> Array:
    """Coverage in [0, 1] (H, W) of one shape, with an edge about a pixel wide.

    The outline is a radius as a function of the angle, so every shape is one closed piece.
    """
    centre = rng.uniform(0.15, 0.85, size=2) * (height, width)
    turn, flat = rng.uniform(0.0, np.pi), np.float32(rng.uniform(0.55, 1.0))
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    outline = _OUTLINES[int(rng.integers(len(_OUTLINES)))](rng, _SECTOR_ANGLES)
    size = rng.uniform(0.22, 0.42) * np.sqrt(height * width / count)
    radii = (size * outline).astype(np.float32)
    cover = np.zeros((height, width), np.float32)
    lowest = np.maximum(centre - radii.max() - 1, 0).astype(int)
    box = tuple(slice(low, int(c + radii.max() + 2)) for low, c in zip(lowest, centre, strict=True))
    y, x = (
        (_pixel_axis(height) - np.float32(centre[0]))[box[0]],
        (_pixel_axis(width) - np.float32(centre[1]))[box[1]],
    )
    along = x[None, :] * cosine + y[:, None] * sine
    across = (y[:, None] * cosine - x[None, :] * sine) / flat
    position = (np.arctan2(across, along) + np.float32(np.pi)) * np.float32(
        _OUTLINE_SECTORS / (2.0 * np.pi)
    )
    radius = radii[np.minimum(position.astype(np.int32), _OUTLINE_SECTORS - 1)]
    cover[box] = np.clip((radius - np.hypot(along, across)) * flat + 0.5, 0.0, 1.0)
    return cover


def _pixel_axis(length: int) -> Array:
    return np.arange(length, dtype=np.float32)


def _ellipse_outline(rng: RandomGenerator, angle: Array) -> Array:  # noqa: ARG001 - one of _OUTLINES
    return np.ones_like(angle)


def _blob_outline(rng: RandomGenerator, angle: Array) -> Array:
    waves = range(2, 7)
    terms = (rng.normal(0.0, 0.3 / n) * np.cos(n * angle + rng.uniform(0.0, 7.0)) for n in waves)
    return np.clip(1.0 + sum(terms), 0.35, 1.6)


def _polygon_outline(rng: RandomGenerator, angle: Array) -> Array:
    """A regular polygon, which the shape's rotation and flattening disguise."""
    sector = 2.0 * np.pi / int(rng.integers(3, 8))
    radius: Array = np.cos(sector / 2.0) / np.cos((angle % sector) - sector / 2.0) * 1.15
    return radius


def _star_outline(rng: RandomGenerator, angle: Array) -> Array:
    radius: Array = 0.9 + rng.uniform(0.15, 0.35) * np.cos(int(rng.integers(3, 8)) * angle)
    return radius


_OUTLINES: tuple[Callable[[RandomGenerator, Array], Array], ...] = (
    _ellipse_outline,
    _blob_outline,
    _blob_outline,
    _polygon_outline,
    _star_outline,
)


def _drop_shadow(cover: Array) -> Array:
    """The shape's shadow: shifted down, and blurred by shrinking it to a twelfth and back."""
    shift = max(cover.shape[0] // 40, 1)
    moved = np.pad(cover, ((shift, 0), (0, 0)))[: cover.shape[0]]
    small = tuple(max(side // 12, 2) for side in cover.shape)
    return np.clip(_resize_map(_resize_map(moved, *small), *cover.shape), 0.0, 1.0)


def _side_light(rng: RandomGenerator, cover: Array) -> Array:
    """Factors around 1 (H, W) of light from one side over a shape."""
    rows, columns = np.nonzero(cover > 0.0)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    y = np.sin(turn) * (_pixel_axis(cover.shape[0]) - rows.mean()) / (np.ptp(rows) + 1.0)
    x = np.cos(turn) * (_pixel_axis(cover.shape[1]) - columns.mean()) / (np.ptp(columns) + 1.0)
    light: Array = np.clip(1.0 + 0.7 * (x[None, :] + y[:, None]), 0.5, 1.5).astype(np.float32)
    return light


def _draw_texture(rng: RandomGenerator, height: int, width: int, hue: float) -> Array:
    """Colours (H, W, 3) in [0, 1] around ``hue``: a pattern of a darker and a lighter colour."""
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng, height, width)
    low, high = np.sort(rng.uniform(*_BRIGHTNESS_RANGE, size=2))
    saturation = rng.uniform(0.35, 0.9)
    dark, light = (
        np.array(
            colorsys.hsv_to_rgb((hue + rng.normal(0.0, 0.03)) % 1.0, saturation, value), np.float32
        )
        for value in (low, high)
    )
    unevenness = np.float32(0.16) * (_smooth_noise(rng, height, width, cells=3) - np.float32(0.5))
    colours: Array = np.clip(
        dark + pattern[..., None] * (light - dark) + unevenness[..., None], 0.0, 1.0
    )
    return colours


def _gradient_pattern(rng: RandomGenerator, height: int, width: int) -> Array:
    turn = rng.uniform(0.0, 2.0 * np.pi)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    slope = np.array([np.cos(turn), np.sin(turn)], np.float32)
    ramp: Array = np.clip(0.5 + slope[0] * x + slope[1] * y, 0.0, 1.0)
    return ramp


def _cloud_pattern(rng: RandomGenerator, height: int, width: int) -> Array:
    """Value noise over five octaves, each half as strong and twice as fine as the one before."""
    octaves = [
        _smooth_noise(rng, height, width, cells=3 * 2**n) * np.float32(0.6**n) for n in range(5)
    ]
    return _stretch_range(np.sum(octaves, axis=0))


def _stripe_pattern(rng: RandomGenerator, height: int, width: int) -> Array:
    turn, period = rng.uniform(0.0, np.pi), rng.uniform(6.0, 26.0)
    across = _pixel_axis(width) * np.float32(np.cos(turn) / period)
    down = _pixel_axis(height) * np.float32(np.sin(turn) / period)
    bent = (
        across[None, :]
        + down[:, None]
        + np.float32(1.5) * _smooth_noise(rng, height, width, cells=3)
    )
    sharpness = np.float32(rng.uniform(0.5, 1.5))
    return np.clip(0.5 + sharpness * np.sin(np.float32(2.0 * np.pi) * bent), 0.0, 1.0)


def _spot_pattern(rng: RandomGenerator, height: int, width: int) -> Array:
    field = _smooth_noise(rng, height, width, cells=int(rng.integers(8, 20)))
    return np.clip(0.5 + 4.0 * (field - rng.uniform(0.45, 0.6)), 0.0, 1.0)


_PATTERNS: tuple[Callable[[RandomGenerator, int, int], Array], ...] = (
    _gradient_pattern,
    _cloud_pattern,
    _stripe_pattern,
    _spot_pattern,
)


def _smooth_noise(rng: RandomGenerator, height: int, width: int, cells: int) -> Array:
    """Smooth noise in [0, 1] (H, W) with about ``cells`` bumps along the longer side."""
    step = max(height, width) / cells
    grid = rng.random((int(height / step) + 2, int(width / step) + 2), dtype=np.float32)
    return _stretch_range(_resize_map(grid, height, width))


def _stretch_range(values: Array) -> Array:
    low, high = values.min(), values.max()
    stretched: Array = (values - low) / max(high - low, 1e-9)
    return stretched


def _resize_map(values: Array, height: int, width: int) -> Array:
    picture = Image.fromarray(values)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
