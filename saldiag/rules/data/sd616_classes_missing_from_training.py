"""SD616: validation holds classes that never occur in training."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements, Wiring
from saldiag.core.wording import counted, listed, number, percent
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES


class ClassesMissingFromTraining(Rule):
    """Some classes occur in the validation data but never in the training data.

    ## What it does
    Counts the classes of the training items, if all of them were read, and those of the validation
    items. Judges classifiers with a cross-entropy loss. If training lacks only a few rare classes,
    the finding is a warning; if it lacks a large share of the validation items' classes, an error.

    ## Why is this bad
    The model cannot predict a class that it never saw. `validation_split` takes the last items
    before any shuffling: in data sorted by class, these belong to other classes.

    ## Example
    ```python
    model.fit(x, y, validation_split=0.2)  # y is 0, 0, …, 1, 1, …, 9, 9
    ```

    ## Use instead
    ```python
    order = np.random.default_rng(0).permutation(len(x))
    model.fit(x[order], y[order], validation_split=0.2)
    ```

    ## Threshold
    - `share` = 0.02: share of the validation items whose class never occurs in training.
    - `error` = 0.2: the same share; at or above it, the finding is an error. Both are our own
      choice. Kohavi (A Study of Cross-Validation and Bootstrap, 1995) advises parts with similar
      class proportions.
    """

    code = "SD616"
    name = "classes-missing-from-training"
    severity = "error"
    requires = (Wiring, ItemFacts)
    thresholds = {"share": 0.02, "error": 0.2}
    explains = {
        "SD605": "anywhere",
        "SD606": "anywhere",
        "SD609": "anywhere",
        "SD712": "anywhere",
        "SD804": "anywhere",
        "SD806": "anywhere",
        "SD807": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(ItemFacts)
        if wiring.loss not in CROSS_ENTROPIES or not facts.class_counts:
            return
        if not facts.validation_class_counts:
            return
        if not facts.whole:
            raise CannotJudge("not all training items were read")
        known = {kind for kind, _ in facts.class_counts}
        missing = [(k, n) for k, n in facts.validation_class_counts if k not in known]
        count = sum(n for _, n in missing)
        items = sum(n for _, n in facts.validation_class_counts)
        share = count / items
        if share <= limits["share"]:
            return
        names = listed((str(kind) for kind, _ in missing), most=6)
        is_error = share >= limits["error"]
        yield self.finding(
            f"{count} of {counted(items, 'validation item')} ({percent(share)}, threshold "
            f"{percent(limits['error'] if is_error else limits['share'])}) "
            f"{'belong' if count != 1 else 'belongs'} to "
            f"{'a class' if len(missing) == 1 else 'classes'} missing from training: {names}. "
            f"Training has {len(known)} {'class' if len(known) == 1 else 'classes'} in "
            f"{number(facts.read)} items",
            "Shuffle the items before the split: order = rng.permutation(len(x)); "
            "x, y = x[order], y[order]",
            evidence={
                "share": share,
                "threshold": limits["error"] if is_error else limits["share"],
                "missing": [kind for kind, _ in missing][:50],
            },
            severity="error" if is_error else "warning",
        )
