"""Masks paired with the images they match."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.batch_transforms import join_batches, split_like
from saldiag.experiments.interventions.change import Batches, Change
from saldiag.experiments.interventions.workbench import Workbench
from saldiag_probes.data.masks import match_masks_to_images

MIN_MOVED_SHARE = 0.5
"""Share of masks, from which on pairs are repaired, that match another image better."""


class RepairedPairs(Intervention):
    """Pairs each image with the mask whose outline matches its edges, as SD607 measures it."""

    name = "repaired-pairs"
    states = "masks are paired with the wrong images"
    answers: ClassVar[tuple[str, ...]] = ("SD607",)
    words: ClassVar[tuple[str, ...]] = ("pair", "mismatch", "wrong mask", "misalign")

    def change(self, lab: Workbench) -> Change:
        whole = join_batches(lab.batches)
        if len(whole) < 2 or not all(isinstance(part, np.ndarray) for part in whole[:2]):
            raise NotApplicable("inputs and targets are not one array each")
        matches = match_masks_to_images(whole[0], whole[1])
        if matches is None:
            raise NotApplicable("the targets are not masks of the inputs")
        moved = int((matches != np.arange(len(matches))).sum())
        if moved < MIN_MOVED_SHARE * len(matches):
            raise NotApplicable(
                f"{moved} of {len(matches)} masks match another image better than their own, fewer"
                f" than {MIN_MOVED_SHARE:.0%}"
            )

        def repair_pairs(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - any seed
            x, y, *rest = join_batches(batches)
            return split_like(batches, (x, y[match_masks_to_images(x, y)], *rest))

        return Change(
            f"pairing {moved} of {len(matches)} masks with the image they match best",
            transform_batches=repair_pairs,
            needs_retracing=False,
        )
