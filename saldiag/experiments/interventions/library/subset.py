"""Fewer items, and labels without meaning: what the model could learn, not how to repair it."""

from __future__ import annotations

import operator
from typing import ClassVar

import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.batch_transforms import each_array, joined, mapped, split_as
from saldiag.experiments.interventions.change import Batches, Change
from saldiag.experiments.interventions.workbench import Workbench

FEWER = "fewer items are learnt sooner by any model: it repairs nothing"


class Tenth(Intervention):
    """Trains on a tenth of the items, two at least, in batches of the same size."""

    name = "tenth"
    states = "there is too much data to be learnt"
    words: ClassVar[tuple[str, ...]] = ("too much data", "subset", "less data", "amount of data")
    if_restored = FEWER

    def change(self, lab: Workbench) -> Change:
        kept = max(2, lab.items // 10)
        if kept >= lab.items:
            raise NotApplicable(f"there are {lab.items} items only")

        def feed(batches: Batches, seed: int) -> Batches:  # noqa: ARG001 - the same for every seed
            which = np.arange(lab.items) % kept
            return split_as(batches, each_array(operator.itemgetter(which), joined(batches)))

        return Change(f"training on {kept} of {lab.items} items", feed=feed, traced=False)


class OneBatch(Intervention):
    """Trains on the first batch only."""

    name = "one-batch"
    states = "there is more data than the model can memorise"
    words: ClassVar[tuple[str, ...]] = ("too much data", "one batch", "single batch")
    if_restored = FEWER

    def change(self, lab: Workbench) -> Change:
        if len(lab.batches) < 2:
            raise NotApplicable("there is one batch only")
        return Change(
            "training on the first batch only", feed=lambda batches, _: batches[:1], traced=False
        )


class RandomLabels(Intervention):
    """Deals the targets out at random: can the model memorise at all?

    Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017.
    """

    name = "random-labels"
    states = "it is the pairing of inputs and targets that cannot be learnt"
    words: ClassVar[tuple[str, ...]] = ("random label", "memoris", "memoriz", "capacity")
    if_restored = "the model memorises targets dealt out at random: its own are at fault, not it"

    def change(self, lab: Workbench) -> Change:
        if len(lab.batches[0]) < 2 or lab.batches[0][1] is None:
            raise NotApplicable("there are no targets")

        def feed(batches: Batches, seed: int) -> Batches:
            x, y, *rest = joined(batches)
            order = np.random.default_rng(seed + 1).permutation(lab.items)
            dealt = mapped(((x, y),), 1, lambda _, part: part[order])[0][1]
            return split_as(batches, (x, dealt, *rest))

        return Change("dealing the targets out at random", feed=feed, traced=False)
