"""SD902: no seed is set, so that no training repeats."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, Seeds


class UnseededRandomness(Rule):
    """The program sets no seed, so that no two of its trainings are the same.

    ## What it does
    Notes that neither ``keras.utils.set_random_seed`` nor ``tf.random.set_seed`` was called. A
    program with TensorFlow's seed alone is not judged: whether Python's, from which Keras draws the
    seeds of its initializers, was set as well cannot be seen. The commands of saldiag set a seed
    themselves. That operations are not deterministic is told beside it, and is no finding of its
    own: it costs speed, and what it changes is rounding.

    ## Why is this bad
    Whether a change of the program made it better cannot be told from one training of each: another
    start can make more of a difference than the change did.

    ## Example
    ```python
    model = build_model()
    model.fit(x, y)
    ```

    ## Use instead
    ```python
    keras.utils.set_random_seed(1)
    model = build_model()
    model.fit(x, y)
    ```

    ## Threshold
    None, a seed is set or it is not. How much of a result the seed alone decides was measured by
    Bouthillier et al. (Accounting for Variance in Machine Learning Benchmarks, 2021).
    """

    code = "SD902"
    name = "unseeded-randomness"
    severity = "info"
    requires = (Seeds,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        seeds = measured.need(Seeds)
        if seeds.keras:
            return
        if seeds.tensorflow:
            raise CannotJudge("only TensorFlow's seed is known to be set; Python's cannot be seen")
        yield self.finding(
            "no seed is set (calls of keras.utils.set_random_seed: 0; deterministic operations: "
            f"{'on' if seeds.deterministic else 'off'}): initial weights, dropout and the order of "
            "the items differ from run to run where they have no seeds of their own. Set one "
            "before the model is built",
            "keras.utils.set_random_seed(1)  # first of all",
            evidence={
                "keras": seeds.keras,
                "tensorflow": seeds.tensorflow,
                "deterministic": seeds.deterministic,
            },
        )
