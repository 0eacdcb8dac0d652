"""Masks beside their pictures: whose edges they lie on, and whether they were blurred."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.optimize import linear_sum_assignment

from saldiag.core.measurement import Array, MaskGreys, MaskPairing

MAX_MASKS = 256
COMPARISON_SIZE = 48
"""Pictures and masks are compared at about this size: n² comparisons of this many values."""
BINARY_TOLERANCE = 1e-3
FAINT_LEVEL = 0.06
MIN_BINARY_SHARE = 0.7
"""Share of values that must be 0 or 1 for targets to be masks at all."""


@dataclass
class MaskStatistics:
    """Pictures (N, H, W, C) with one mask (N, H, W, 1) each, as far as data look like that."""

    edges: list[Array] = field(default_factory=list)
    outlines: list[Array] = field(default_factory=list)
    counts: list[tuple[int, int, int, int]] = field(default_factory=list)
    """By mask: values, and those that are grey, between, faint."""
    known: set[bytes] = field(default_factory=set)
    """Pictures seen: one that comes again would be another's best as much as its own."""
    fit: bool = True

    def add_batch(self, inputs: list[Array], targets: list[Array]) -> None:
        """Take in one batch; data of another kind end it."""
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
        """Which picture each mask lies on best; None where there are no masks to compare."""
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
        """Values between 0 and 1; None where targets are no masks."""
        if not self.fit or not self.counts:
            return None
        values, grey, between, faint = np.sum(self.counts, axis=0).tolist()
        if 1 - grey / values < MIN_BINARY_SHARE:
            return None
        shares = (between / grey, faint / grey) if grey else (float("nan"), float("nan"))
        return MaskGreys(len(self.counts), grey / values, *shares)


def _are_masks(inputs: list[Array], targets: list[Array]) -> bool:
    """One picture with more channels than its target, which is as large, and within [0, 1].

    A target of as many channels as the input is a picture as well: an autoencoder's, say.
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
    grey = (mask > BINARY_TOLERANCE) & (mask < 1 - BINARY_TOLERANCE)
    between = (
        grey
        & (minimum_filter(mask, 5) <= BINARY_TOLERANCE)
        & (maximum_filter(mask, 5) >= 1 - BINARY_TOLERANCE)
    )
    faint = grey & ((mask < FAINT_LEVEL) | (mask > 1 - FAINT_LEVEL))
    return mask.size, int(grey.sum()), int(between.sum()), int(faint.sum())


def _edge_strength(picture: Array) -> Array:
    """The size of the gradient, over all channels."""
    rows, columns = np.zeros_like(picture), np.zeros_like(picture)
    rows[1:-1] = picture[2:] - picture[:-2]
    columns[:, 1:-1] = picture[:, 2:] - picture[:, :-2]
    strength: Array = np.sqrt((rows**2 + columns**2).sum(axis=-1))
    return strength


def _max_pooled(strength: Array) -> Array:
    """The largest value in each of about ``COMPARISON_SIZE`` x ``COMPARISON_SIZE`` fields."""
    step = max(1, -(-max(strength.shape) // COMPARISON_SIZE))
    height, width = (size // step * step for size in strength.shape)
    fields = strength[:height, :width].reshape(height // step, step, width // step, step)
    small: Array = fields.max(axis=(1, 3))
    return small


def _rank_values(edges: Array) -> Array:
    """Values by their rank in [0, 1): a picture of strong contrast counts as any other."""
    ranks: Array = edges.ravel().argsort().argsort().reshape(edges.shape) / edges.size
    return ranks


def _edge_agreement(edges: Array, outlines: Array) -> Array:
    """How strong the edges of picture i are along the outline of mask j, beside all others'."""
    flat = outlines.reshape(len(outlines), -1).astype(float)
    flat /= np.maximum(flat.sum(axis=1, keepdims=True), 1)
    score = edges.reshape(len(edges), -1) @ flat.T
    score -= score.mean(axis=0, keepdims=True)
    centred: Array = score - score.mean(axis=1, keepdims=True)
    return centred


def _mutual_best_shares(score: Array) -> tuple[float, float]:
    """The share of masks paired with their own picture, and with another, each other's best."""
    best = score.argmax(axis=0)
    mutual = score.argmax(axis=1)[best] == np.arange(len(best))
    own = mutual & (best == np.arange(len(best)))
    return float(own.mean()), float((mutual & ~own).mean())


def match_masks_to_images(pictures: Array, masks: Array) -> Array | None:
    """For each picture (N, H, W, C) the number of the mask (N, H, W, 1) that lies on it best.

    Each mask once (Kuhn, The Hungarian Method, 1955). None where they are no masks, or too many.
    """
    if not 2 <= len(pictures) == len(masks) <= MAX_MASKS or not _are_masks([pictures], [masks]):
        return None
    edges = np.stack(
        [_rank_values(_max_pooled(_edge_strength(p.astype(np.float64)))) for p in pictures]
    )
    outlines = np.stack([_max_pooled(_edge_strength((m > 0.5).astype(float)) > 0) for m in masks])
    found: Array = linear_sum_assignment(-_edge_agreement(edges, outlines))[1]
    return found
