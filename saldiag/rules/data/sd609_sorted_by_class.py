"""SD609: training goes through the classes one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements, Wiring
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES
from saldiag.rules.shared.wording import counted, number


class SortedByClass(Rule):
    """Training items come sorted by their class, and nothing shuffles them.

    ## What it does
    Counts, in the order of training, how often an item is of another class than the one before,
    against what a random order has on average. It judges classifiers with a cross-entropy over
    several batches. Arrays are in order where ``fit`` gets ``shuffle=False``; a ``tf.data.Dataset``
    is read, so that a shuffle in it counts for what it does. Batches that are put together of
    several classes, sorted within, are left alone, and so are stateful recurrent networks, for
    which the order is part of the data.

    ## Why is this bad
    Batches hold one class each: the network learns to say it of everything, and unlearns it with
    the next. BatchNorm's statistics, too, are those of one class.

    ## Example
    ```python
    dataset = tf.data.Dataset.list_files("*/*.jpg", shuffle=False).map(read).batch(32)
    ```

    ## Use instead
    ```python
    files = tf.data.Dataset.list_files("*/*.jpg", shuffle=False)
    dataset = files.shuffle(10_000).map(read).batch(32)
    ```

    ## Threshold
    - `share` = 0.2: changes of the class, as a share of those of a random order. Successive items
      should rarely belong to the same class (LeCun, Bottou, Orr & Müller, Efficient BackProp,
      1998, section 4.2).
    - `changes` = 16: fewest changes that a random order must have for the share to be sure.
    - `mixed` = 0.5: share of pairs of different classes within a batch, over that among all items,
      from which on the order within batches is all that is sorted. It is our own choice.
    """

    code = "SD609"
    name = "sorted-by-class"
    severity = "warning"
    requires = (Wiring, ItemFacts)
    thresholds = {"share": 0.2, "changes": 16, "mixed": 0.5}
    explains = {"SD605": "anywhere", "SD606": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(ItemFacts)
        if facts.source == "batches":
            raise CannotJudge("the order of training is not known")
        if facts.reordered or facts.classes is None or not _classifies(wiring):
            return
        size = facts.batch_size or 1
        if facts.classes < 2 or facts.read < 2 * size or facts.expected_changes < limits["changes"]:
            return
        share = facts.changes / facts.expected_changes
        if share >= limits["share"] or facts.mixture >= limits["mixed"]:
            return
        yield self.finding(
            f"the class changes {number(facts.changes)} times in the order of "
            f"{counted(facts.read, 'training item')}, which are of {facts.classes} classes, "
            f"{number(share)} of the {number(facts.expected_changes)} times of a random order "
            f"(threshold {number(limits['share'])}), in batches of {size}. Shuffle the items "
            "before they are put into batches",
            "dataset = dataset.unbatch().shuffle(10_000).batch(32)"
            if facts.source == "dataset"
            else "model.fit(x, y, shuffle=True)",
            evidence={
                "share": share, "changes": facts.changes, "expected": facts.expected_changes,
                "classes": facts.classes, "read": facts.read, "mixture": facts.mixture,
                "threshold": limits["share"],
            },
        )  # fmt: skip


def _classifies(wiring: Wiring) -> bool:
    stateful = any(call.config.get("stateful") for call in wiring.calls)
    return wiring.loss in CROSS_ENTROPIES and not stateful
