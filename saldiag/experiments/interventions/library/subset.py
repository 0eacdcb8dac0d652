"""Fewer items, or shuffled targets: experiments on what the model can learn, not fixes."""

from __future__ import annotations

import operator
from typing import ClassVar

import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.batch_transforms import (
    join_batches,
    map_arrays,
    map_batch_part,
    split_like,
)
from saldiag.experiments.interventions.change import Batches, Change
from saldiag.experiments.interventions.workbench import Workbench

FEWER_ITEMS_REPAIR_NOTHING = "any model learns fewer samples faster, so this is no fix"


class TenthOfItems(Intervention):
    """Trains on a tenth of the items, at least two, repeated to batches of the same size."""

    name = "tenth"
    states = "there is too much data to learn"
    words: ClassVar[tuple[str, ...]] = ("too much data", "subset", "less data", "amount of data")
    if_restored = FEWER_ITEMS_REPAIR_NOTHING

    def change(self, lab: Workbench) -> Change:
        kept = max(2, lab.items // 10)
        if kept >= lab.items:
            raise NotApplicable(f"there are only {lab.items} samples")

        def repeat_few_items(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - any seed
            chosen = np.arange(lab.items) % kept
            return split_like(
                batches, map_arrays(operator.itemgetter(chosen), join_batches(batches))
            )

        return Change(
            f"training on {kept} of {lab.items} samples",
            transform_batches=repeat_few_items,
            needs_retracing=False,
        )


class OneBatch(Intervention):
    """Trains on the first batch only."""

    name = "one-batch"
    states = "there is more data than the model can memorise"
    words: ClassVar[tuple[str, ...]] = ("too much data", "one batch", "single batch")
    if_restored = FEWER_ITEMS_REPAIR_NOTHING

    def change(self, lab: Workbench) -> Change:
        if len(lab.batches) < 2:
            raise NotApplicable("there is only one batch")
        return Change(
            "training on the first batch only",
            transform_batches=lambda batches, _: batches[:1],
            needs_retracing=False,
        )


class RandomLabels(Intervention):
    """Shuffles the targets across items, to see whether the model can memorise at all.

    Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017.
    """

    name = "random-labels"
    states = "the pairing of inputs and targets cannot be learned"
    words: ClassVar[tuple[str, ...]] = ("random label", "memoris", "memoriz", "capacity")
    if_restored = "the model memorises shuffled targets: the original pairing is at fault"

    def change(self, lab: Workbench) -> Change:
        if len(lab.batches[0]) < 2 or lab.batches[0][1] is None:
            raise NotApplicable("there are no targets")

        def shuffle_targets(batches: Batches, seed: int) -> Batches:
            x, y, *rest = join_batches(batches)
            order = np.random.default_rng(seed + 1).permutation(lab.items)
            shuffled = map_batch_part(((x, y),), 1, lambda _, part: part[order])[0][1]
            return split_like(batches, (x, shuffled, *rest))

        return Change(
            "shuffling the targets across samples",
            transform_batches=shuffle_targets,
            needs_retracing=False,
        )
