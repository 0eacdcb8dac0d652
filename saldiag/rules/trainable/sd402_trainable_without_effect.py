"""SD402: declared trainable, and does not train."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, TrainableRow, TrainableStatus, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, counted, listed


class TrainableWithoutEffect(Rule):
    """Layers are set trainable, and their variables do not train.

    ## What it does
    Finds variables that are declared trainable and (a) are missing from the model's trainable
    variables, (b) are unknown to the optimizer, or (c) get no gradient, since nothing that the
    loss is computed from depends on them; where only a loss of ``add_loss`` reads them, as it does
    a target network, that is a note. Of a layer that was built while it was frozen Keras 3.15 has
    no gradients ever after, whatever is set later. A whole block below a frozen parent is meant to
    be frozen, however its layers are flagged; one layer that differs from its siblings there is
    not.

    ## Why is this bad
    The layer was switched on for a reason, and stays what it was without a word.

    ## Example
    ```python
    encoder.trainable = False
    encoder.get_layer("expand").trainable = True  # the encoder does not list it
    ```

    ## Use instead
    ```python
    encoder.trainable = True
    for layer in encoder.layers:
        layer.trainable = layer.name == "expand"
    ```

    ## Threshold
    None, it is exact (Keras' guide on transfer learning and fine-tuning, 2023).
    """

    code = "SD402"
    name = "trainable-without-effect"
    severity = "warning"
    requires = (TrainableStatus,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        rows = measured.need(TrainableStatus).rows
        declared = [row for row in rows if row.layer_flag and row.variable_flag]
        reasons: dict[str, list[TrainableRow]] = defaultdict(list)
        wiring = measured.get(Wiring)
        apart = Network(wiring).only_in_losses() if wiring is not None else set[str]()
        for row in declared:
            reason = _reason(row, rows)
            if reason == _NO_GRADIENT and row.layer in apart:
                reason = _IN_LOSS
            if reason:
                reasons[reason].append(row)
        for reason, found in sorted(reasons.items()):
            yield self._without_effect(measured, reason, found)

    def _without_effect(
        self, measured: Measurements, reason: str, rows: Sequence[TrainableRow]
    ) -> Finding:
        layers = tuple(dict.fromkeys(row.layer for row in rows))
        source = source_of(measured, layers[0])
        size = sum(row.size for row in rows)
        return self.finding(
            f"{listed(layers)}: declared trainable, but {reason}; "
            f"{counted(len(layers), 'layer')} with {size:,} parameters never change. "
            f"{_ADVICE[reason]}{at(source)}",
            _FIXES[reason],
            layers=layers,
            evidence={
                "reason": reason,
                "parameters": size,
                "variables": [row.path for row in rows],
            },
            source=source,
            severity="info" if reason == _IN_LOSS else None,
        )


_NOT_LISTED = "not among the model's trainable variables"
_NOT_IN_OPTIMIZER = "unknown to the optimizer"
_NO_GRADIENT = "without a gradient"
_BUILT_FROZEN = "built while it was frozen, which leaves its variables without a gradient for good"
_IN_LOSS = "read by the loss alone, without a gradient"
_ADVICE = {
    _NOT_LISTED: "Set the layers around it trainable, and it alone inside them",
    _NOT_IN_OPTIMIZER: "Compile again after changing trainable",
    _NO_GRADIENT: "Use its output, or remove it",
    _BUILT_FROZEN: "Make and build it trainable and freeze it afterwards, or build it anew",
    _IN_LOSS: "Freeze a target network that follows another one; let the gradient pass if not",
}
_FIXES = {
    _NOT_LISTED: "parent.trainable = True  # then trainable = False for each layer to stay frozen",
    _NOT_IN_OPTIMIZER: "model.compile(optimizer, loss)  # after trainable was changed",
    _NO_GRADIENT: "saldiag gradients …  # same options; shows up to where the gradient comes",
    _BUILT_FROZEN: "layer = Layer()  # trainable until it is built; then layer.trainable = False",
    _IN_LOSS: "target.trainable = False",
}


def _reason(row: TrainableRow, rows: Sequence[TrainableRow]) -> str:
    if not row.in_model:
        return _NOT_LISTED if _differs_from_siblings(row, rows) else ""
    if row.in_optimizer is False:
        return _NOT_IN_OPTIMIZER
    if row.has_gradient is False:
        return _NO_GRADIENT if row.watched else _BUILT_FROZEN
    return ""


def _differs_from_siblings(row: TrainableRow, rows: Sequence[TrainableRow]) -> bool:
    """Whether others around it are flagged frozen, so that its own flag was set on purpose."""
    parent = row.layer.rpartition("/")[0]
    around = [other for other in rows if other.layer.rpartition("/")[0] == parent]
    return any(not other.layer_flag for other in around)
