"""Masks compared with their images: whose edges they follow, and whether they are blurred."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.optimize import linear_sum_assignment

from saldiag.core.measurement import Array, MaskGreys, MaskPairing

MAX_MASKS = 256
"""Number of masks to compare: every mask is compared with every image."""
COMPARISON_SIZE = 48
"""Approximate side, in cells, at which images and masks are compared."""
BINARY_TOLERANCE = 1e-3
"""Distance from 0 or 1 within which a mask's value counts as binary."""
FAINT_LEVEL = 0.06
"""Distance from 0 or 1 within which a grey value counts as faint."""
MIN_BINARY_SHARE = 0.7
"""Share of values that must be 0 or 1 for targets to be treated as masks."""


@dataclass
class MaskStatistics:
    """Running statistics of images (N, H, W, C) with one mask (N, H, W, 1) each."""

    edges: list[Array] = field(default_factory=list)
    """Edge strength of each image, pooled to about ``COMPARISON_SIZE`` squared."""
    outlines: list[Array] = field(default_factory=list)
    """Outline of each mask, pooled in the same way; bool."""
    counts: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Per mask the number of values, and of those that are grey, between, faint."""
    known: set[bytes] = field(default_factory=set)
    """Hashes of the images so far. A repeated image would match another mask as well as its own."""
    fit: bool = True
    """Whether all batches so far look like images with masks."""

    def add_batch(self, inputs: list[Array], targets: list[Array]) -> None:
        """Add one batch; the first batch of another kind ends the statistics.

        Args:
            inputs: the batch's input arrays.
            targets: its target arrays.
        """
        self.fit = self.fit and _are_masks(inputs, targets)
        if not self.fit:
            return
        for picture, mask in zip(inputs[0], targets[0], strict=False):
            before = len(self.known)
            if before == MAX_MASKS:
                return
            self.known.add(blake2b(picture.tobytes()).digest())
            if len(self.known) == before:
                continue
            values = mask[..., 0].astype(np.float64)
            self.counts.append(_count_grey_values(values))
            self.edges.append(_max_pooled(_edge_strength(picture.astype(np.float64))))
            self.outlines.append(
                _max_pooled(_edge_strength((values > 0.5)[..., None].astype(float)) > 0)
            )

    def mask_pairing(self) -> MaskPairing | None:
        """Which image each mask matches best; None if there are no masks to compare."""
        shapes = {edge.shape for edge in self.edges}
        chosen = [i for i, outline in enumerate(self.outlines) if outline.any()]
        if not self.fit or len(shapes) != 1 or len(chosen) < 2:
            return None
        edges = np.stack([_rank_values(self.edges[i]) for i in chosen])
        outlines = np.stack([self.outlines[i] for i in chosen])
        own, other = _mutual_best_shares(_edge_agreement(edges, outlines))
        return MaskPairing(
            masks=len(chosen),
            own=own,
            other=other,
            turned=sum(_mutual_best_shares(_edge_agreement(edges, outlines[:, ::-1, ::-1]))),
        )

    def mask_greys(self) -> MaskGreys | None:
        """Statistics of values between 0 and 1; None if the targets are no masks."""
        if not self.fit or not self.counts:
            return None
        values, grey, between, faint = np.sum(self.counts, axis=0).tolist()
        if 1 - grey / values < MIN_BINARY_SHARE:
            return None
        shares = (between / grey, faint / grey) if grey else (float("nan"), float("nan"))
        return MaskGreys(len(self.counts), grey / values, *shares)


def _are_masks(inputs: list[Array], targets: list[Array]) -> bool:
    """Whether there is one image, and a target of the same size within [0, 1] and fewer channels.

    A target with as many channels as the input is an image as well: that of an autoencoder, for
    example.
    """
    if len(inputs) != 1 or len(targets) != 1:
        return False
    picture, mask = inputs[0], targets[0]
    shaped = picture.ndim == mask.ndim == 4 and picture.shape[:3] == mask.shape[:3]
    if not shaped or mask.shape[-1] != 1 or picture.shape[-1] < 2 or min(mask.shape[1:3]) < 8:
        return False
    numeric = picture.dtype.kind in "iuf" and mask.dtype.kind in "iufb"
    return numeric and bool(((mask >= 0) & (mask <= 1)).all())


def _count_grey_values(mask: Array) -> tuple[int, int, int, int]:
    """Values, grey values, grey values between 0 and 1 within two pixels, and faint ones."""
    grey = (mask > BINARY_TOLERANCE) & (mask < 1 - BINARY_TOLERANCE)
    between = (
        grey
        & (minimum_filter(mask, 5) <= BINARY_TOLERANCE)
        & (maximum_filter(mask, 5) >= 1 - BINARY_TOLERANCE)
    )
    faint = grey & ((mask < FAINT_LEVEL) | (mask > 1 - FAINT_LEVEL))
    return mask.size, int(grey.sum()), int(between.sum()), int(faint.sum())


def _edge_strength(picture: Array) -> Array:
    """L2 norm of the gradient over all channels: (H, W, C) to (H, W)."""
    rows, columns = np.zeros_like(picture), np.zeros_like(picture)
    rows[1:-1] = picture[2:] - picture[:-2]
    columns[:, 1:-1] = picture[:, 2:] - picture[:, :-2]
    strength: Array = np.sqrt((rows**2 + columns**2).sum(axis=-1))
    return strength


def _max_pooled(strength: Array) -> Array:
    """The maximum in each of about ``COMPARISON_SIZE`` x ``COMPARISON_SIZE`` cells."""
    step = max(1, -(-max(strength.shape) // COMPARISON_SIZE))
    height, width = (size // step * step for size in strength.shape)
    cells = strength[:height, :width].reshape(height // step, step, width // step, step)
    pooled: Array = cells.max(axis=(1, 3))
    return pooled


def _rank_values(edges: Array) -> Array:
    """Values replaced by their rank in [0, 1), which removes differences in contrast."""
    ranks: Array = edges.ravel().argsort().argsort().reshape(edges.shape) / edges.size
    return ranks


def _edge_agreement(edges: Array, outlines: Array) -> Array:
    """Mean edge rank of image i along the outline of mask j, centred by row and column: (N, N)."""
    flat = outlines.reshape(len(outlines), -1).astype(float)
    flat /= np.maximum(flat.sum(axis=1, keepdims=True), 1)
    score = edges.reshape(len(edges), -1) @ flat.T
    score -= score.mean(axis=0, keepdims=True)
    centred: Array = score - score.mean(axis=1, keepdims=True)
    return centred


def _mutual_best_shares(score: Array) -> tuple[float, float]:
    """Shares of masks whose mutual best match is their own image, and another image."""
    best = score.argmax(axis=0)
    mutual = score.argmax(axis=1)[best] == np.arange(len(best))
    own = mutual & (best == np.arange(len(best)))
    return float(own.mean()), float((mutual & ~own).mean())


def match_masks_to_images(pictures: Array, masks: Array) -> Array | None:
    """For each image the index of the mask that matches its edges best, every mask used once.

    Solved as a linear assignment problem (Kuhn, The Hungarian Method, 1955).

    Args:
        pictures: (N, H, W, C).
        masks: (N, H, W, 1).

    Returns:
        Indices (N); None if the targets are no masks, or there are more than ``MAX_MASKS``.
    """
    if not 2 <= len(pictures) == len(masks) <= MAX_MASKS or not _are_masks([pictures], [masks]):
        return None
    edges = np.stack(
        [_rank_values(_max_pooled(_edge_strength(p.astype(np.float64)))) for p in pictures]
    )
    outlines = np.stack([_max_pooled(_edge_strength((m > 0.5).astype(float)) > 0) for m in masks])
    matches: Array = linear_sum_assignment(-_edge_agreement(edges, outlines))[1]
    return matches
