"""SD801: the model fails the overfit test."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, OverfitHistory
from saldiag.rules.shared.wording import counted, number
from saldiag.rules.verdicts.overfit import LIMITS, verdict_of


class CannotMemorise(Rule):
    """The model cannot learn even a handful of samples by heart.

    ## What it does
    Reports a verdict of *does not learn*: no variable gets a gradient, numbers turned non-finite,
    or the whole overfit test went by with a training-mode error no better than that of the best
    prediction that ignores the input, and no longer falling. Other findings usually say why; this
    one stands alone where none does.

    ## Why is this bad
    More data, more epochs or a better augmentation cannot help: the fault is in the model, the
    loss, or the way that the data is fed.

    ## Example
    ```python
    model.fit(samples, targets, epochs=400)  # 8 samples; the loss stays where it was
    ```

    ## Use instead
    ```python
    # saldiag gradients    where the signal dies
    # saldiag trainable    what is trained at all
    ```

    ## Threshold
    - `learnt` = 0.1: training-mode error, as a share of the best input-independent prediction's,
      below which the samples count as memorised. The test is the advice of Goodfellow, Bengio &
      Courville (Deep Learning, 2016, section 11.5) and Karpathy (A Recipe for Training Neural
      Networks, 2019).
    - `stuck` = 0.9: the same share, above which nothing but the mean was learnt.
    - `fall` = 0.01: least fall in the second half of the test, as a share of that baseline.
    - `significance` = 0.05: level of the test for a falling loss (Mann 1945; Kendall 1975).
    - `min_steps` = 30: steps before a model may be called unable.
    - `min_passes` = 16: passes over the samples before a model may be called unable.
    - `warm_up` = 1.5: growth of the learning rate over the second half of the test from which on
      its warm-up is longer than the test (Goyal et al., Accurate, Large Minibatch SGD, 2017).
    """

    code = "SD801"
    name = "cannot-memorise"
    severity = "error"
    requires = (OverfitHistory,)
    thresholds = LIMITS

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        history = measured.need(OverfitHistory)
        verdict, reason = verdict_of(history, limits)
        if verdict != "does_not_learn":
            return
        finite = history.training_error[np.isfinite(history.training_error)]
        error = float(finite.min()) if len(finite) else float("nan")
        threshold = limits["learnt"] * history.baseline_independent
        yield self.finding(
            f"{counted(history.items, 'sample')} cannot be memorised: {reason} "
            f"(error {number(error)}, threshold {number(threshold)}). Look where the gradient goes",
            "saldiag gradients …  # same options",
            evidence={
                "error": error,
                "baseline": history.baseline_independent,
                "threshold": threshold,
                "steps": len(history.loss),
                "stopped": history.stopped,
            },
            confidence=1.0 if history.no_gradient else 0.9,
        )
