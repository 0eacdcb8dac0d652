"""SD014: the processes start from different weights."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements


class ProcessesStartDifferently(Rule):
    """The processes of a distributed training start from different weights.

    ## What it does
    Compares a digest of the weights before the first step in each process of a training.

    ## Why is this bad
    The processes sum their gradients, but each adds the sum to weights of its own: the gradient of
    one set of weights is applied to another, and no process trains a model that minimises the loss.

    ## Example
    ```python
    model = build_model()  # random weights, in every process others
    ```

    ## Use instead
    ```python
    keras.utils.set_random_seed(1)  # the same in every process
    with strategy.scope():
        model = build_model()
    ```

    ## Threshold
    None: the digests are equal or they are not. Equal initial weights are an assumption of
    synchronous training (Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel
    Training, 2020, section 3).
    """

    code = "SD014"
    name = "processes-start-differently"
    severity = "error"
    requires = (Distribution,)
    explains = {"SD004": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.processes < 2:
            return
        if len(distribution.weight_digests) < 2:
            raise CannotJudge("the initial weights of the other processes are unknown")
        different = len(set(distribution.weight_digests))
        if different == 1:
            return
        yield self.finding(
            f"{distribution.processes} processes start from {different} different sets of "
            "weights. Set the same seed in each, and build the model in strategy.scope()",
            "keras.utils.set_random_seed(1)  # in every process, before building the model",
            evidence={"processes": distribution.processes, "different": different},
        )
