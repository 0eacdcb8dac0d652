"""SD608: validation items that are also training items."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements
from saldiag.core.wording import counted, number, percent


class SharedValidationItems(Rule):
    """Validation items also occur in the training data.

    ## What it does
    Compares items, input and target together and byte by byte, and counts the validation items that
    also occur among the training items that were read. Items of few values (some categories, a
    short sequence) can be equal by nature. They are not reported if training items repeat each
    other about as often, or if the dataset is endless and this cannot be measured.

    ## Why is this bad
    Validation measures memorisation. It looks good whether or not the model generalises, and early
    stopping never triggers.

    ## Example
    ```python
    x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4, axis=0)  # copied first
    a, b = train_test_split(np.arange(len(x)), test_size=0.2)  # then split
    ```

    ## Use instead
    ```python
    a, b = train_test_split(np.arange(len(x)), test_size=0.2)  # split first
    x_train, y_train = np.repeat(x[a], 4, axis=0), np.repeat(y[a], 4, axis=0)  # then copied
    ```

    ## Threshold
    - `share` = 0.03: share of the validation items. In CIFAR-10, 3.3 % of the test images are near
      copies of training images, which was reason enough for a new test set (Barz & Denzler, Do We
      Train on Test Data?, 2020, table 1).
    - `items` = 2: minimum number of shared items; one can be a coincidence.
    - `values` = 16: distinct values in an item. With at least this many, items are not equal by
      chance; with fewer, `by_nature` decides. Both are our own choice.
    - `by_nature` = 0.25: share of repeated training items, divided by the share above. At or above
      it, items count as equal by nature. With few validation items the share is uncertain, and the
      lower end of its 95 % interval counts (Wilson, 1927).
    """

    code = "SD608"
    name = "shared-validation-items"
    severity = "warning"
    requires = (ItemFacts,)
    thresholds = {"share": 0.03, "items": 2, "values": 16, "by_nature": 0.25}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(ItemFacts)
        if facts.shared is None or not facts.validation:
            raise CannotJudge("no validation items to compare with the training items")
        share = facts.shared / facts.validation
        if share <= limits["share"] or facts.shared < limits["items"]:
            return
        if not facts.values >= limits["values"]:
            _require_few_repeats(
                facts, limits["by_nature"] * _wilson_lower_bound(facts.shared, facts.validation)
            )
        read = "" if facts.whole else " that were read"
        yield self.finding(
            f"{facts.shared} of {counted(facts.validation, 'validation item')} ({percent(share)}, "
            f"threshold {percent(limits['share'])}) also occur among the {facts.read} training "
            f"items{read}, with identical inputs and targets: validation measures memorisation. "
            f"Split the data before copying or augmenting items; "
            f"{number(facts.validation - facts.shared)} unseen validation items remain",
            "x_val, y_val = x_val[unseen], y_val[unseen]  # unseen: items that are not in x_train",
            evidence={
                "share": share,
                "shared": facts.shared,
                "validation": facts.validation,
                "read": facts.read,
                "repeated": facts.repeated,
                "threshold": limits["share"],
            },
        )


def _wilson_lower_bound(shared: int, count: int) -> float:
    """Lower end of Wilson's 95 % interval of the share ``shared / count``."""
    square = 1.96**2
    middle = shared + square / 2
    return (middle - 1.96 * math.sqrt(shared * (count - shared) / count + square / 4)) / (
        count + square
    )


def _require_few_repeats(facts: ItemFacts, limit: float) -> None:
    """Check that training items with few values rarely repeat each other.

    Raises:
        CannotJudge: more than ``limit`` of them repeat an earlier one, or the number is unknown.
    """
    if facts.repeated is None:
        raise CannotJudge("the dataset is endless, and its items repeat")
    repeated = facts.repeated / facts.read
    if repeated > limit:
        raise CannotJudge(
            f"{percent(repeated)} of the training items repeat another one: items are "
            "equal by nature"
        )
