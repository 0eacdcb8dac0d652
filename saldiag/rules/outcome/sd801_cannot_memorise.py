"""SD801: the model fails the overfit test."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, OverfitHistory
from saldiag.core.wording import counted, number
from saldiag.rules.verdicts.overfit import LIMITS, verdict_of


class CannotMemorise(Rule):
    """The model cannot memorise even a handful of samples.

    ## What it does
    Reports the verdict *does not learn*: no variable gets a gradient, numbers became non-finite, or
    the training-mode error stayed as high as the baseline error (of the best prediction that
    ignores the input) for the whole overfit test and no longer falls. Usually another finding
    explains it; otherwise this one is the root cause.

    ## Why is this bad
    More data, more epochs or better augmentation cannot help: the fault is in the model, the loss,
    or the data pipeline.

    ## Example
    ```python
    model.fit(samples, targets, epochs=400)  # 8 samples; the loss stays constant
    ```

    ## Use instead
    ```python
    small = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    small.compile("adam", "mse")  # if this one learns, add the layers back one by one
    small.fit(samples, targets, epochs=400)
    ```

    ## Threshold
    - `learnt` = 0.1: training-mode error, as a share of the baseline error, below which the samples
      count as memorised. The test is recommended by Goodfellow, Bengio & Courville (Deep Learning,
      2016, section 11.5) and Karpathy (A Recipe for Training Neural Networks, 2019).
    - `stuck` = 0.9: the same share, above which at most the mean was learned.
    - `fall` = 0.01: least fall in the second half of the test, as a share of the baseline error.
    - `significance` = 0.05: level of the test for a falling loss (Mann 1945; Kendall 1975).
    - `min_steps` = 30: fewest steps before a model counts as unable.
    - `min_passes` = 16: fewest passes over the samples before a model counts as unable.
    - `warm_up` = 1.5: growth of the learning rate over the second half of the test, above which its
      warm-up is longer than the test (Goyal et al., Accurate, Large Minibatch SGD, 2017).
    """

    code = "SD801"
    name = "cannot-memorise"
    severity = "error"
    requires = (OverfitHistory,)
    compares_losses = True
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
            f"(error {number(error)}, threshold {number(threshold)}). Find the layer or loss that "
            "stops the model from learning",
            "Train only the output layer and the loss, then add the other layers back one by one",
            evidence={
                "error": error,
                "baseline": history.baseline_independent,
                "threshold": threshold,
                "steps": len(history.loss),
                "stopped": history.stopped,
            },
            confidence=1.0 if history.no_gradient else 0.9,
        )
