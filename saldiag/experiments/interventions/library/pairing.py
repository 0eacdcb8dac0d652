"""Each mask with the picture that it lies on."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.batch_transforms import joined, split_as
from saldiag.experiments.interventions.change import Batches, Change
from saldiag.experiments.interventions.workbench import Workbench
from saldiag_probes.data.masks import match_masks_to_images

MOVED = 0.5
"""Share of masks that have to lie better on another picture than on their own."""


class RepairedPairs(Intervention):
    """Gives each picture the mask whose outline lies on its edges, as SD607 measures it."""

    name = "repaired-pairs"
    states = "masks are paired with other pictures than their own"
    answers: ClassVar[tuple[str, ...]] = ("SD607",)
    words: ClassVar[tuple[str, ...]] = ("pair", "mismatch", "wrong mask", "misalign")

    def change(self, lab: Workbench) -> Change:
        whole = joined(lab.batches)
        if len(whole) < 2 or not all(isinstance(part, np.ndarray) for part in whole[:2]):
            raise NotApplicable("there is not one array of pictures with one of masks")
        found = match_masks_to_images(whole[0], whole[1])
        if found is None:
            raise NotApplicable("the targets are no masks of pictures")
        moved = int((found != np.arange(len(found))).sum())
        if moved < MOVED * len(found):
            raise NotApplicable("the masks lie on their own pictures best")

        def feed(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - the same for every seed
            x, y, *rest = joined(batches)
            found = match_masks_to_images(x, y)
            return split_as(batches, (x, y[found], *rest))

        return Change(f"giving {moved} of {len(found)} masks to the picture that they lie on",
                      feed=feed, traced=False)  # fmt: skip
