"""SD013: dropout draws the same masks in every replica."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import at_line, counted, listed


class DropoutEqualInReplicas(Rule):
    """Dropout and noise layers draw the same random numbers in every replica.

    ## What it does
    Compares the state of each layer's seed generator in the replicas at the first steps. Keras 3
    gives every replica a copy of it, with equal values. The finding is information: the model
    learns.

    ## Why is this bad
    The first item of every replica is masked in the same way, and so is the second. The masks of a
    step are fewer than its items, which makes the gradient noisier than that of one device.

    ## Example
    ```python
    x = keras.layers.Dropout(0.5)(x)
    ```

    ## Use instead
    ```python
    class ReplicaDropout(keras.layers.Layer):
        def call(self, x, training=False):
            return tf.nn.dropout(x, 0.5) if training else x
    ```

    ## Threshold
    None: the states are equal or they are not. Independent masks per item are those of Srivastava
    et al. (Dropout, 2014); the copies are the code of Keras 3.15 (2026).
    """

    code = "SD013"
    name = "dropout-equal-in-replicas"
    severity = "info"
    requires = (Distribution,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2 or not distribution.equal_seeds:
            return
        layers = distribution.equal_seeds
        source = source_of(measured, layers[0])
        yield self.finding(
            f"{listed(layers)}: the same random numbers in all {distribution.replicas} replicas "
            f"({len(layers)} of {counted(len(distribution.random_layers), 'random layer')}). Draw "
            f"them in the replica{at_line(source)}",
            "tf.nn.dropout(x, rate)  # in the call of a custom layer; only if training",
            layers=layers,
            evidence={"equal": len(layers), "layers": len(distribution.random_layers)},
            source=source,
        )
