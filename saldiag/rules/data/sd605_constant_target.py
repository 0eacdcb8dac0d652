"""SD605: all targets are the same number."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements, Wiring
from saldiag.core.wording import counted, label, number
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES, RANGES


class ConstantTarget(Rule):
    """All targets are the same number.

    ## What it does
    Counts the distinct values of each target over the measured samples. Judges classifiers (a
    cross-entropy loss, or sigmoid or softmax outputs). For other outputs it reports only a constant
    other than 0, because residuals that should become 0 have such targets by design. Not judged:
    custom losses, which need not use the targets, and a frozen network that scores the output of a
    trainable one: a GAN trains its generator with the constant target "real".

    ## Why is this bad
    That number is all there is to learn: the loss falls, and the model predicts the same value for
    every input. Common causes are empty masks, and files that are read class by class without
    shuffling.

    ## Example
    ```python
    dataset = tf.data.Dataset.list_files("*/*.jpg", shuffle=False).batch(32)
    ```

    ## Use instead
    ```python
    dataset = tf.data.Dataset.list_files("*/*.jpg").shuffle(10_000).batch(32)
    ```

    ## Threshold
    - `min_samples` = 8: minimum number of samples. With two equally frequent classes, eight samples
      belong to one class by chance once in 128 times. LeCun, Bottou, Orr & Müller (Efficient
      BackProp, 1998, section 4.2) advise shuffling, because successive samples should rarely belong
      to the same class.
    """

    code = "SD605"
    name = "constant-target"
    severity = "warning"
    requires = (Wiring, DataFacts)
    thresholds = {"min_samples": 8}
    explains = {"SD201": "anywhere", "SD302": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring, facts = measured.need(Wiring), measured.need(DataFacts)
        if facts.samples < limits["min_samples"]:
            raise CannotJudge(
                f"needs at least {limits['min_samples']:.0f} samples, got {facts.samples}"
            )
        if "custom:" in wiring.loss or wiring.loss == "none":
            raise CannotJudge(f"the loss ({label(wiring.loss)}) does not have to use the targets")
        if _scores_with_frozen_network(Network(wiring)):
            raise CannotJudge("a frozen network scores the output of a trainable one, as in a GAN")
        for target in facts.targets:
            constant = target.minimum == target.maximum and target.nan_share == 0
            if constant and (target.minimum != 0 or _outputs_probabilities(wiring)):
                yield self.finding(
                    f"{label(target.name)}: all targets are {number(target.minimum)} in "
                    f"{counted(facts.samples, 'sample')} (threshold "
                    f"{number(limits['min_samples'])}). Check how targets are read, or shuffle",
                    "dataset = dataset.shuffle(10_000)  # or check the label files",
                    evidence={
                        "value": target.minimum,
                        "distinct": target.distinct,
                        "samples": facts.samples,
                        "threshold": limits["min_samples"],
                    },
                )


def _outputs_probabilities(wiring: Wiring) -> bool:
    """Whether all outputs are probabilities, by their activation or by the loss."""
    heads = Network(wiring).heads()
    bounded = bool(heads) and all(RANGES.get(h.activation or "") == (0.0, 1.0) for h in heads)
    return bounded or set(wiring.loss.split("+")) <= CROSS_ENTROPIES


def _scores_with_frozen_network(network: Network) -> bool:
    """Whether frozen layers compute the outputs, and a layer before them is trainable."""
    weighted = [head for head in network.heads() if head.parameters]
    before = network.upstream([head.path for head in weighted])
    frozen = bool(weighted) and not any(head.trainable for head in weighted)
    return frozen and any(
        network.leaves[path].trainable and network.leaves[path].parameters for path in before
    )
