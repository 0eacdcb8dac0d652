"""SD605: every target is the same number."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import DataFacts, Measurements, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES, RANGES
from saldiag.rules.shared.wording import counted, label, number


class ConstantTarget(Rule):
    """All targets are one and the same number.

    ## What it does
    Counts the distinct values of each target over the measured samples. Judges classification (a
    cross-entropy, or an output with sigmoid or softmax) and, for other outputs, a constant that is
    not 0: a residual that is to become 0 has such targets by design. Losses of the user's own,
    which need not look at the target, are left alone, and so is a frozen network that judges what
    a trainable one makes: the generator of a GAN is told that all is genuine.

    ## Why is this bad
    There is nothing to learn but that number: the loss falls, and the model says the same of
    everything. Empty masks, or files that are read class by class without shuffling, look so.

    ## Example
    ```python
    dataset = tf.data.Dataset.list_files("*/*.jpg", shuffle=False).batch(32)
    ```

    ## Use instead
    ```python
    dataset = tf.data.Dataset.list_files("*/*.jpg").shuffle(10_000).batch(32)
    ```

    ## Threshold
    - `min_samples` = 8: fewest samples to tell. With two classes alike in number, eight samples of
      one class come by chance once in 128 times. That samples should be shuffled so that
      successive ones rarely belong to the same class: LeCun, Bottou, Orr & Müller (Efficient
      BackProp, 1998, section 4.2).
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
                f"{counted(facts.samples, 'sample')} seen, needs {limits['min_samples']:.0f}"
            )
        if "custom:" in wiring.loss or wiring.loss == "none":
            raise CannotJudge(f"{label(wiring.loss)} need not look at the targets")
        if _judges(Network(wiring)):
            raise CannotJudge("the output is that of a frozen network which judges the one before")
        for target in facts.targets:
            constant = target.minimum == target.maximum and target.nan_share == 0
            if constant and (target.minimum != 0 or _classifies(wiring)):
                yield self.finding(
                    f"{label(target.name)}: every target of {counted(facts.samples, 'sample')} "
                    f"(threshold {number(limits['min_samples'])}) is {number(target.minimum)}. "
                    "Look at how targets are read, or shuffle",
                    "dataset = dataset.shuffle(10_000)  # or look at the label files",
                    evidence={
                        "value": target.minimum,
                        "distinct": target.distinct,
                        "samples": facts.samples,
                        "threshold": limits["min_samples"],
                    },
                )


def _classifies(wiring: Wiring) -> bool:
    """Whether outputs are probabilities; where there are several outputs, all of them."""
    heads = Network(wiring).heads()
    bounded = bool(heads) and all(RANGES.get(h.activation or "") == (0.0, 1.0) for h in heads)
    return bounded or set(wiring.loss.split("+")) <= CROSS_ENTROPIES


def _judges(network: Network) -> bool:
    """Whether the output is made by a frozen layer, and something trainable stands before it."""
    made = [head for head in network.heads() if head.parameters]
    before = network.upstream([head.path for head in made])
    frozen = bool(made) and not any(head.trainable for head in made)
    return frozen and any(
        network.leaves[path].trainable and network.leaves[path].parameters for path in before
    )
