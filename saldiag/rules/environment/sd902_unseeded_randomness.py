"""SD902: no random seed is set."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, Seeds


class UnseededRandomness(Rule):
    """The program sets no random seed, and runs are not reproducible.

    ## What it does
    Checks whether ``keras.utils.set_random_seed`` or ``tf.random.set_seed`` was called. A program
    that sets only TensorFlow's seed is not judged: Keras draws the seeds of its initializers from
    Python's generator, and whether that was seeded cannot be determined. The commands of saldiag
    set a seed themselves. The message also says whether operations are deterministic, but
    nondeterministic operations are not reported: avoiding them costs speed, and they change only
    rounding.

    ## Why is this bad
    A single run of each version does not show whether a change improved the program: another seed
    can change the result more than the change did.

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
    None: a seed is set or it is not. Bouthillier et al. (Accounting for Variance in Machine
    Learning Benchmarks, 2021) measured how much of a result depends on the seed alone.
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
            raise CannotJudge(
                "only TensorFlow's seed is known to be set; Python's cannot be checked"
            )
        yield self.finding(
            "no seed is set (calls of keras.utils.set_random_seed: 0; deterministic operations: "
            f"{'on' if seeds.deterministic else 'off'}): unseeded initial weights, dropout and "
            "sample order differ from run to run. Set a seed before building the model",
            "keras.utils.set_random_seed(1)  # before building the model",
            evidence={
                "keras": seeds.keras,
                "tensorflow": seeds.tensorflow,
                "deterministic": seeds.deterministic,
            },
        )
