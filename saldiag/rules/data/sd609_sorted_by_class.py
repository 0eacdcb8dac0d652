"""SD609: training runs through the classes one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements, Wiring
from saldiag.core.wording import counted, number
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES


class SortedByClass(Rule):
    """Training items are sorted by class and not shuffled.

    ## What it does
    Counts, in training order, how often the class changes from one item to the next, and compares
    the count with the mean of a random order. Judges classifiers with a cross-entropy loss over
    several batches. Arrays stay in order if ``fit`` gets ``shuffle=False``; a ``tf.data.Dataset``
    is read, including its own shuffling. Not judged: batches that hold several classes and are
    sorted only within, and stateful recurrent networks, for which the order is part of the data.

    ## Why is this bad
    Each batch holds a single class. The network learns to predict this class for every input, and
    unlearns it with the next batch. BatchNorm's statistics are those of one class, too.

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
    - `share` = 0.2: number of class changes divided by that of a random order. Successive items
      should rarely belong to the same class (LeCun, Bottou, Orr & Müller, Efficient BackProp, 1998,
      section 4.2).
    - `changes` = 16: minimum number of changes in a random order. With fewer, the share is too
      uncertain.
    - `mixed` = 0.5: share of pairs of different classes within a batch, divided by that among all
      items. At or above it, only the order within batches is sorted. Our own choice.
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
            raise CannotJudge("the training order is not known")
        if facts.reordered or facts.classes is None or not _is_stateless_classifier(wiring):
            return
        size = facts.batch_size or 1
        if facts.classes < 2 or facts.read < 2 * size or facts.expected_changes < limits["changes"]:
            return
        share = facts.changes / facts.expected_changes
        if share >= limits["share"] or facts.mixture >= limits["mixed"]:
            return
        yield self.finding(
            f"class changes in {counted(facts.read, 'training item')} of {facts.classes} classes: "
            f"{number(facts.changes)}, a share of {number(share)} of the "
            f"{number(facts.expected_changes)} in a random order (threshold "
            f"{number(limits['share'])}; batch size {size}). Shuffle the items before batching",
            "dataset = dataset.unbatch().shuffle(10_000).batch(32)"
            if facts.source == "dataset"
            else "model.fit(x, y, shuffle=True)",
            evidence={
                "share": share,
                "changes": facts.changes,
                "expected": facts.expected_changes,
                "classes": facts.classes,
                "read": facts.read,
                "mixture": facts.mixture,
                "threshold": limits["share"],
            },
        )


def _is_stateless_classifier(wiring: Wiring) -> bool:
    """Whether the loss is a cross-entropy and no layer is stateful."""
    stateful = any(call.config.get("stateful") for call in wiring.calls)
    return wiring.loss in CROSS_ENTROPIES and not stateful
