"""SD615: validation targets are encoded differently, or belong to other items."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements, ValidationCheck
from saldiag.core.wording import counted, number, percent
from saldiag.rules.verdicts.validation import LIMITS, Checked


class ValidationLabelsDiffer(Rule):
    """Validation targets have another encoding or order than training targets.

    ## What it does
    Runs if `val_loss` does not follow the loss. Compares the predictions for the validation items
    with changed targets: scaled, inverted, moved by one item, reversed, with renamed classes. A
    change that closes most of the gap between validation and training items proves the cause. Masks
    and other large targets are also compared with the predictions for all other items.

    ## Why is this bad
    The predictions are right but count as wrong. No change of the model can lower such a
    `val_loss`.

    ## Example
    ```python
    train = keras.utils.image_dataset_from_directory("train")  # classes a, b, c
    val = keras.utils.image_dataset_from_directory("val")  # no folder a: b is class 0
    ```

    ## Use instead
    ```python
    val = keras.utils.image_dataset_from_directory("val", class_names=train.class_names)
    ```

    ## Threshold
    - `corrected` = 0.5: share of the gap between validation and training items that a change of the
      targets must close.
    - `renamed` = 2: accuracy after the best renaming of classes (Kuhn, The Hungarian method, 1955)
      divided by the accuracy before. The accuracy after it must also exceed 0.6, and one of the
      renamed classes must occur in training.
    - `other` = 0.4: share of predictions and targets of different items that are each other's
      nearest, while less than 0.1 of them match their own item. All are our own choice.
    """

    code = "SD615"
    name = "validation-labels-differ"
    severity = "error"
    requires = (ValidationCheck,)
    thresholds = {"corrected": LIMITS["corrected"], "renamed": 2, "other": 0.4}
    explains = {
        "SD616": "anywhere",
        "SD712": "anywhere",
        "SD802": "anywhere",
        "SD804": "anywhere",
        "SD806": "anywhere",
        "SD807": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked = Checked.of(measured)
        if not (checked.gap > 0 or checked.sinks):
            return
        known, unknown = _training_and_new_classes(measured)
        renames = not unknown or any(kind in known for _, kind in checked.check.mapping)
        repair = None if unknown else checked.repair("targets", limits["corrected"])
        if checked.renamed(limits["renamed"]) and renames:
            yield self._renamed_classes_finding(checked, limits["renamed"])
        elif repair is not None:
            closed = (checked.held_out - repair.error) / checked.gap
            yield self.finding(
                f"validation targets are encoded or ordered differently: error "
                f"{number(checked.held_out)} on {counted(checked.check.items, 'validation item')} "
                f"as given, {number(repair.error)} with {repair.change}, "
                f"{number(checked.train)} on training items. The change closes "
                f"{percent(min(closed, 1.0))} of the gap (threshold "
                f"{percent(limits['corrected'])})",
                f"Encode and order validation targets like training targets: {repair.change}",
                evidence={
                    "error": checked.held_out,
                    "corrected_error": repair.error,
                    "training_items_error": checked.train,
                    "change": repair.change,
                    "share": closed,
                    "threshold": limits["corrected"],
                },
            )
        elif checked.mispaired(limits["other"]):
            yield self._mispaired_finding(checked, limits["other"])

    def _renamed_classes_finding(self, checked: Checked, limit: float) -> Finding:
        check = checked.check
        names = ", ".join(f"{one} → {other}" for one, other in check.mapping[:6])
        return self.finding(
            f"validation labels number the classes differently: accuracy "
            f"{percent(check.accuracy)} on {counted(check.items, 'validation item')}, "
            f"{percent(check.mapped_accuracy)} with renamed predictions (class {names}), a factor "
            f"above the threshold of {number(limit)}",
            "Give training and validation the same class_names",
            evidence={
                "accuracy": check.accuracy,
                "mapped_accuracy": check.mapped_accuracy,
                "threshold": limit,
            },
        )

    def _mispaired_finding(self, checked: Checked, limit: float) -> Finding:
        check = checked.check
        return self.finding(
            f"validation targets belong to other items: {percent(check.paired_with_other)} of "
            f"{counted(check.items, 'prediction')} and the target of another item fit each other "
            f"best (threshold {percent(limit)}); {percent(check.paired_with_own)} fit their "
            "own target",
            "Sort validation inputs and targets by the same key",
            evidence={
                "other": check.paired_with_other,
                "own": check.paired_with_own,
                "threshold": limit,
            },
        )


def _training_and_new_classes(measured: Measurements) -> tuple[set[int], set[int]]:
    """The training classes, and the validation classes that do not occur in training.

    Items of the latter are always predicted wrongly (SD616), and do not prove a renaming. Both sets
    are empty if not all training items were read.
    """
    facts = measured.get(ItemFacts)
    if facts is None or not facts.whole or not facts.class_counts:
        return set(), set()
    known = {kind for kind, _ in facts.class_counts}
    return known, {kind for kind, _ in facts.validation_class_counts} - known
