"""SD615: validation targets are encoded differently, or belong to other items."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements, ValidationCheck
from saldiag.rules.shared.wording import counted, number, percent
from saldiag.rules.verdicts.validation import LIMITS, Checked


class ValidationLabelsDiffer(Rule):
    """Validation targets have another encoding than training targets, or stand in another order.

    ## What it does
    Where `val_loss` does not follow the loss, compares the predictions for the validation items
    with changed targets: scaled, inverted, moved by one item, reversed, with classes renamed. A
    change that closes most of the gap between validation and training items is a proof. Masks and
    other large targets are also compared with the predictions for all other items.

    ## Why is this bad
    The model is right, and counted wrong. No change of the model can lower such a `val_loss`.

    ## Example
    ```python
    train = keras.utils.image_dataset_from_directory("train")  # classes a, b, c
    val = keras.utils.image_dataset_from_directory("val")  # a folder is missing: b is class 0
    ```

    ## Use instead
    ```python
    val = keras.utils.image_dataset_from_directory("val", class_names=train.class_names)
    ```

    ## Threshold
    - `corrected` = 0.5: share of the gap between validation and training items that a change of the
      targets has to close.
    - `renamed` = 2: accuracy after the best renaming of classes (Kuhn, The Hungarian method, 1955)
      over the accuracy as it is; the former has to be above 0.6 as well, and one of the renamed
      classes be known from training.
    - `other` = 0.4: share of predictions and targets of different items that are each other's
      nearest, where less than 0.1 are so for the same item. All are our own choice.
    """

    code = "SD615"
    name = "validation-labels-differ"
    severity = "error"
    requires = (ValidationCheck,)
    thresholds = {"corrected": LIMITS["corrected"], "renamed": 2, "other": 0.4}
    explains = {
        "SD616": "anywhere", "SD712": "anywhere", "SD802": "anywhere", "SD804": "anywhere",
        "SD806": "anywhere", "SD807": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked = Checked.of(measured)
        if not (checked.gap > 0 or checked.sinks):
            return
        known, unknown = _classes(measured)
        renames = not unknown or any(kind in known for _, kind in checked.check.mapping)
        repair = None if unknown else checked.repair("targets", limits["corrected"])
        if checked.renamed(limits["renamed"]) and renames:
            yield self._renamed(checked, limits["renamed"])
        elif repair is not None:
            closed = (checked.held_out - repair.error) / checked.gap
            yield self.finding(
                f"validation targets are encoded or ordered differently: error "
                f"{number(checked.held_out)} on {counted(checked.check.items, 'validation item')} "
                f"as they are, {number(repair.error)} with {repair.change}, "
                f"{number(checked.train)} on training items; that closes "
                f"{percent(min(closed, 1.0))} of the gap (threshold "
                f"{percent(limits['corrected'])})",
                f"Encode and order validation targets as training targets: {repair.change}",
                evidence={
                    "error": checked.held_out, "corrected_error": repair.error,
                    "training_items_error": checked.train, "change": repair.change,
                    "share": closed, "threshold": limits["corrected"],
                },
            )  # fmt: skip
        elif checked.mispaired(limits["other"]):
            yield self._mispaired(checked, limits["other"])

    def _renamed(self, checked: Checked, limit: float) -> Finding:
        check = checked.check
        names = ", ".join(f"{one} is {other}" for one, other in check.mapping[:6])
        return self.finding(
            f"validation labels number the classes differently: accuracy "
            f"{percent(check.accuracy)} on {counted(check.items, 'validation item')}, "
            f"{percent(check.mapped_accuracy)} once the predicted classes are renamed (class "
            f"{names}), over {number(limit)} times as much",
            "Give training and validation the same class_names",
            evidence={
                "accuracy": check.accuracy, "mapped_accuracy": check.mapped_accuracy,
                "threshold": limit,
            },
        )  # fmt: skip

    def _mispaired(self, checked: Checked, limit: float) -> Finding:
        check = checked.check
        return self.finding(
            f"validation targets belong to other items: {percent(check.paired_with_other)} of "
            f"{counted(check.items, 'prediction')} fit the target of another item best and are its "
            f"best fit (threshold {percent(limit)}), {percent(check.paired_with_own)} their own",
            "Sort validation inputs and targets by the same key",
            evidence={
                "other": check.paired_with_other, "own": check.paired_with_own, "threshold": limit,
            },
        )  # fmt: skip


def _classes(measured: Measurements) -> tuple[set[int], set[int]]:
    """The classes of training, and those of validation that are not among them.

    Items of the latter are predicted as some class they are not, which SD616 explains: a renaming
    is proved by the others.
    """
    facts = measured.get(ItemFacts)
    if facts is None or not facts.whole or not facts.class_counts:
        return set(), set()
    known = {kind for kind, _ in facts.class_counts}
    return known, {kind for kind, _ in facts.validation_class_counts} - known
