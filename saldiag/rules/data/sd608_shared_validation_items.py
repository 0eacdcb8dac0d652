"""SD608: validation items that are training items as well."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements
from saldiag.rules.shared.wording import counted, number, percent


class SharedValidationItems(Rule):
    """Items to validate with stand among those to train on.

    ## What it does
    Compares items, input and target together and byte by byte, and counts the validation items
    that were read among the training items as well. Items of few values (some categories, a short
    sequence) can be alike by nature: where training items repeat each other about as often, or
    that cannot be told of an endless data set, they are left alone.

    ## Why is this bad
    The model is asked what it was told. Validation then looks good whether or not anything was
    learnt that holds for other items, and early stopping never comes.

    ## Example
    ```python
    x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4, axis=0)  # first copied,
    a, b = train_test_split(np.arange(len(x)), test_size=0.2)  # then split
    ```

    ## Use instead
    ```python
    a, b = train_test_split(np.arange(len(x)), test_size=0.2)  # first split,
    x_train, y_train = np.repeat(x[a], 4, axis=0), np.repeat(y[a], 4, axis=0)  # then copied
    ```

    ## Threshold
    - `share` = 0.03: share of the validation items. CIFAR-10 holds 3.3 % of its test images among
      the training images, as near copies, which was enough to call for another test set (Barz &
      Denzler, Do We Train on Test Data?, 2020, table 1).
    - `items` = 2: fewest items shared; one can be a coincidence.
    - `values` = 16: distinct values in an item, from which on no two are alike by chance; and
      below, `by_nature`. Both are our own guess.
    - `by_nature` = 0.25: repeated training items, as a share of the share above, from which on
      items are alike by nature. Of few validation items the share is uncertain: the lower end of
      its 95 % interval counts (Wilson, 1927).
    """

    code = "SD608"
    name = "shared-validation-items"
    severity = "warning"
    requires = (ItemFacts,)
    thresholds = {"share": 0.03, "items": 2, "values": 16, "by_nature": 0.25}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(ItemFacts)
        if facts.shared is None or not facts.validation:
            raise CannotJudge("no validation items to compare the training items with")
        share = facts.shared / facts.validation
        if share <= limits["share"] or facts.shared < limits["items"]:
            return
        if not facts.values >= limits["values"]:
            _unless_alike(facts, limits["by_nature"] * _at_least(facts.shared, facts.validation))
        part = "" if facts.whole else " that were read"
        yield self.finding(
            f"{facts.shared} of {counted(facts.validation, 'validation item')}, {percent(share)} "
            f"(threshold {percent(limits['share'])}), stand among the {facts.read} training "
            f"items{part}, input and target byte by byte. Validation shows memory: split before "
            f"copying or augmenting, {number(facts.validation - facts.shared)} items are left",
            "x_val, y_val = x_val[unseen], y_val[unseen]  # those that are not in x_train",
            evidence={
                "share": share, "shared": facts.shared, "validation": facts.validation,
                "read": facts.read, "repeated": facts.repeated, "threshold": limits["share"],
            },
        )  # fmt: skip


def _at_least(shared: int, count: int) -> float:
    """Lower end of Wilson's 95 % interval of a share."""
    square = 1.96**2
    middle = shared + square / 2
    return (middle - 1.96 * math.sqrt(shared * (count - shared) / count + square / 4)) / (
        count + square
    )


def _unless_alike(facts: ItemFacts, limit: float) -> None:
    """Raise where items of few values repeat each other within the training items as well."""
    if facts.repeated is None:
        raise CannotJudge("the data set is endless: items repeat")
    repeated = facts.repeated / facts.read
    if repeated > limit:
        raise CannotJudge(
            f"{percent(repeated)} of the training items repeat another: items are alike"
        )
