"""SD610: an epoch never ends, or ends before its steps are taken."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, Measurements
from saldiag.rules.shared.wording import number


class EpochOfAnotherLength(Rule):
    """The data set does not end where an epoch has to, or ends before.

    ## What it does
    Compares the number of batches in one pass, as the data set tells it or as it was counted,
    with ``steps_per_epoch``: a data set without end, and no ``steps_per_epoch``, is an error; fewer
    batches than steps are a warning. A data set that has more batches than steps goes on in the
    next epoch, and is left alone.

    ## Why is this bad
    The first epoch goes on for ever: no validation, no checkpoint, no callback at its end. Where
    the data run out, Keras warns, ends each epoch early, and takes a part of the steps that the
    learning rate's schedule is made for.

    ## Example
    ```python
    model.fit(dataset.repeat().batch(32), epochs=10)
    ```

    ## Use instead
    ```python
    model.fit(dataset.batch(32), epochs=10)
    ```

    ## Threshold
    - `share` = 1: batches of one pass over the steps of an epoch; below, Keras 3 (2023,
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
            raise CannotJudge("the data set that is handed to fit is not known")
        steps = facts.steps_per_epoch
        if facts.endless and steps is None:
            yield self.finding(
                f"the data set repeats without end, and steps_per_epoch is not set (threshold "
                f"{number(limits['share'])} pass): the first epoch never ends. Leave the repeat "
                "out, or set steps_per_epoch",
                "model.fit(dataset, epochs=10, steps_per_epoch=items // batch_size)",
                evidence={"batches": None, "steps": None, "threshold": limits["share"]},
            )
        elif steps is not None and facts.batches is not None and not facts.endless:
            yield from self._short(facts.batches, steps, limits["share"])

    def _short(self, batches: int, steps: int, limit: float) -> Iterable[Finding]:
        if batches / steps < limit:
            yield self.finding(
                f"the data hold batches for {batches} of {steps} steps in an epoch, "
                f"{number(batches / steps)} of it (threshold {number(limit)}): every epoch is cut "
                "short. Leave steps_per_epoch out, or repeat the data set",
                "dataset = dataset.repeat()  # or leave steps_per_epoch out",
                evidence={
                    "batches": batches, "steps": steps, "share": batches / steps,
                    "threshold": limit,
                },
                severity="warning",
            )  # fmt: skip
