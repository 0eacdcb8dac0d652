"""SD610: an epoch never ends, or ends too early."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements
from saldiag.core.wording import number


class EpochOfAnotherLength(Rule):
    """The dataset never ends, or ends before the epoch does.

    ## What it does
    Compares the number of batches in one pass, as reported by the dataset or counted, with
    ``steps_per_epoch``. An endless dataset without ``steps_per_epoch`` is an error; fewer batches
    than steps are a warning. A dataset with more batches than steps continues in the next epoch
    and is not reported.

    ## Why is this bad
    The first epoch never ends: no validation, no checkpoint, and no callback at its end. If the
    data runs out, Keras warns and ends each epoch early, and the learning rate schedule gets fewer
    steps than it was made for.

    ## Example
    ```python
    model.fit(dataset.repeat().batch(32), epochs=10)
    ```

    ## Use instead
    ```python
    model.fit(dataset.batch(32), epochs=10)
    ```

    ## Threshold
    - `share` = 1: batches of one pass divided by the steps of an epoch. Below it, Keras 3 (2023,
      `keras/src/trainers/epoch_iterator.py`) interrupts the epoch with a warning.
    """

    code = "SD610"
    name = "epoch-of-another-length"
    severity = "error"
    requires = (ItemFacts,)
    thresholds = {"share": 1}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        facts = measured.need(ItemFacts)
        if facts.source == "batches":
            raise CannotJudge("the dataset passed to fit is not known")
        steps = facts.steps_per_epoch
        if facts.endless and steps is None:
            yield self.finding(
                f"the dataset repeats without end and steps_per_epoch is not set (threshold "
                f"{number(limits['share'])} pass): the first epoch never ends. Remove repeat(), "
                "or set steps_per_epoch",
                "model.fit(dataset, epochs=10, steps_per_epoch=items // batch_size)",
                evidence={"batches": None, "steps": None, "threshold": limits["share"]},
            )
        elif steps is not None and facts.batches is not None and not facts.endless:
            yield from self._too_few_batches_findings(facts.batches, steps, limits["share"])

    def _too_few_batches_findings(
        self, batches: int, steps: int, limit: float
    ) -> Iterable[Finding]:
        if batches / steps < limit:
            yield self.finding(
                f"the data covers {batches} of {steps} steps per epoch, a share of "
                f"{number(batches / steps)} (threshold {number(limit)}): Keras ends each epoch "
                "early. Remove steps_per_epoch, or repeat the dataset",
                "dataset = dataset.repeat()  # or remove steps_per_epoch",
                evidence={
                    "batches": batches,
                    "steps": steps,
                    "share": batches / steps,
                    "threshold": limit,
                },
                severity="warning",
            )
