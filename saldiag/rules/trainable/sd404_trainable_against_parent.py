"""SD404: a layer trains although its parent is frozen."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, TrainableStatus
from saldiag.rules.shared.wording import at, label, listed


class TrainableAgainstParent(Rule):
    """A layer inside a frozen one trains, and the frozen one does not list it.

    ## What it does
    Finds variables that the model trains while the layer around them is frozen and does not list
    them among its own trainable weights. Keras collects them from the outermost layer past the
    frozen one in between, so that the two say different things.

    ## Why is this bad
    ``block.trainable_weights`` is empty, ``summary()`` of the block shows nothing to train, and the
    optimizer changes it all the same. Whoever reads the one is wrong about the other.

    ## Example
    ```python
    block.trainable = False
    block.expand.trainable = True
    ```

    ## Use instead
    ```python
    for layer in (block.depthwise, block.project):
        layer.trainable = False
    ```

    ## Threshold
    None, it is exact (behaviour of Keras 3.15, 2025, ``Layer.trainable_variables``).
    """

    code = "SD404"
    name = "trainable-against-parent"
    severity = "warning"
    requires = (TrainableStatus,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        rows = [
            row
            for row in measured.need(TrainableStatus).rows
            if row.variable_flag and row.in_model and not row.in_layer
        ]
        if not rows:
            return
        layers = tuple(dict.fromkeys(row.layer for row in rows))
        parent = layers[0].rpartition("/")[0]
        source = source_of(measured, layers[0])
        size = sum(row.size for row in rows)
        changed = any(row.changed for row in rows)
        yield self.finding(
            f"{listed(layers)}: {'trains' if changed else 'set to train'} inside the frozen "
            f"{label(parent)}, which lists 0 of its {size:,} parameters as trainable. "
            f"Freeze the other layers one by one{at(source)}",
            f"layer.trainable = False  # for each layer of {label(parent)} but the trainable ones",
            layers=layers,
            evidence={"parent": parent, "parameters": size, "changed": changed},
            source=source,
        )
