"""SD404: a layer is trained although its parent is frozen."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, TrainableStatus
from saldiag.core.wording import at_line, label, listed


class TrainableAgainstParent(Rule):
    """A layer inside a frozen layer is trained, although the frozen layer does not list it.

    ## What it does
    Finds variables that the model trains although the enclosing layer is frozen and does not list
    them among its own trainable weights. Keras collects variables from the outermost layer, past
    the frozen layer in between, so the two lists disagree.

    ## Why is this bad
    ``block.trainable_weights`` is empty and the block's ``summary()`` shows nothing to train, but
    the optimizer updates the layer. Code and readers that rely on the block's list are misled.

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
    None; the check is exact (behaviour of Keras 3.15, 2025, ``Layer.trainable_variables``).
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
        how = "updated by the optimizer" if changed else "set trainable"
        yield self.finding(
            f"{listed(layers)}: {how} inside the frozen "
            f"{label(parent)}, which lists 0 of these {size:,} parameters as trainable. "
            f"Freeze the other layers one by one{at_line(source)}",
            f"layer.trainable = False  # for each other layer of {label(parent)}",
            layers=layers,
            evidence={"parent": parent, "parameters": size, "changed": changed},
            source=source,
        )
