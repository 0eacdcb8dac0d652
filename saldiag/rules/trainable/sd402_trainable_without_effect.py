"""SD402: variables are declared trainable, but are not trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, TrainableRow, TrainableStatus, Wiring
from saldiag.core.wording import at_line, counted, listed
from saldiag.rules.shared.graph import Network


class TrainableWithoutEffect(Rule):
    """Layers are declared trainable, but their variables are not trained.

    ## What it does
    Finds variables that are declared trainable but (a) are missing from the model's trainable
    variables, (b) are unknown to the optimizer, or (c) have no gradient because the loss does not
    depend on them. If only an ``add_loss`` loss reads them, as with a target network, the finding
    is a note. In Keras 3.15, a layer that was built while frozen never gets gradients, whatever is
    set later.

    A block whose layers all agree is treated as frozen on purpose when a parent is frozen, whatever
    its layers' own flags are; a single layer that differs from its siblings is not.

    ## Why is this bad
    The layer was unfrozen for a reason, but it silently stays unchanged.

    ## Example
    ```python
    encoder.trainable = False
    encoder.get_layer("expand").trainable = True  # the encoder still lists nothing as trainable
    ```

    ## Use instead
    ```python
    encoder.trainable = True
    for layer in encoder.layers:
        layer.trainable = layer.name == "expand"
    ```

    ## Threshold
    None; the check is exact (Keras' guide on transfer learning and fine-tuning, 2023).
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
        only_in_losses = Network(wiring).only_in_losses() if wiring is not None else set[str]()
        for row in declared:
            reason = _reason_not_trained(row, rows)
            if reason == _NO_GRADIENT and row.layer in only_in_losses:
                reason = _IN_LOSS
            if reason:
                reasons[reason].append(row)
        for reason, found in sorted(reasons.items()):
            yield self._not_trained(measured, reason, found)

    def _not_trained(
        self, measured: Measurements, reason: str, rows: Sequence[TrainableRow]
    ) -> Finding:
        layers = tuple(dict.fromkeys(row.layer for row in rows))
        source = source_of(measured, layers[0])
        size = sum(row.size for row in rows)
        them, change = ("it", "changes") if len(layers) == 1 else ("them", "change")
        return self.finding(
            f"{listed(layers)}: declared trainable, but {_IN_MESSAGE.get(reason, reason)}; "
            f"{counted(len(layers), 'layer')} with {size:,} parameters never {change}. "
            f"{_ADVICE[reason].format(them=them)}{at_line(source)}",
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
_IN_MESSAGE = {
    _BUILT_FROZEN: "built while frozen, which leaves the variables without a gradient from then on",
    _IN_LOSS: "read only by the loss, without a gradient",
}
"""Wording of a reason in the message, where it differs from the one recorded as evidence."""
_ADVICE = {
    _NOT_LISTED: "Unfreeze the parent layer, and freeze the other layers inside it",
    _NOT_IN_OPTIMIZER: "Compile again after changing trainable",
    _NO_GRADIENT: "Connect {them} to the loss, or remove {them}",
    _BUILT_FROZEN: "Build {them} with trainable=True, and freeze {them} afterwards",
    _IN_LOSS: "Freeze a target network; otherwise let the gradient reach {them}",
}
"""What to change, by reason; ``them`` is *it* for a single layer."""
_FIXES = {
    _NOT_LISTED: "parent.trainable = True  # then trainable = False for each layer to keep frozen",
    _NOT_IN_OPTIMIZER: "model.compile(optimizer, loss)  # after changing trainable",
    _NO_GRADIENT: "x = layer(x)  # use its output on the way to the loss",
    _BUILT_FROZEN: "layer = Layer()  # trainable until it is built; then layer.trainable = False",
    _IN_LOSS: "target.trainable = False",
}


def _reason_not_trained(row: TrainableRow, rows: Sequence[TrainableRow]) -> str:
    """Why a variable that is declared trainable is not trained; empty if it is."""
    if not row.in_model:
        return _NOT_LISTED if _differs_from_siblings(row, rows) else ""
    if row.in_optimizer is False:
        return _NOT_IN_OPTIMIZER
    if row.has_gradient is False:
        return _NO_GRADIENT if row.watched else _BUILT_FROZEN
    return ""


def _differs_from_siblings(row: TrainableRow, rows: Sequence[TrainableRow]) -> bool:
    """Whether a sibling layer is flagged frozen: this layer's flag was then set on purpose."""
    parent = row.layer.rpartition("/")[0]
    sibling_rows = [other for other in rows if other.layer.rpartition("/")[0] == parent]
    return any(not other.layer_flag for other in sibling_rows)
