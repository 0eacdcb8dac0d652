"""SD118: one of several outputs doesn't contribute to the loss."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, compile_source
from saldiag.core.measurement import GradientFlow, IgnoredOutput, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, listed
from saldiag.rules.shared.graph import Network


class OutputWithoutLoss(Rule):
    """One of several outputs doesn't contribute to the loss.

    ## What it does
    Finds outputs without a loss (``None`` in a list, a key missing in a dict) or with a loss weight
    of 0. The finding is a warning if trainable layers that only this output depends on get no
    gradient, and an info otherwise, as for an output that is only inspected. An output that another
    output is computed from contributes to the loss. Models with their own training step or loss are
    not judged.

    ## Why is this bad
    Keras gives no warning. The layers of this output count as trainable, keep their random start,
    and make predictions like any others.

    ## Example
    ```python
    model = keras.Model(inputs, {"kind": kind, "place": place})
    model.compile("adam", loss={"kind": "categorical_crossentropy"})
    ```

    ## Use instead
    ```python
    model = keras.Model(inputs, {"kind": kind, "place": place})
    model.compile("adam", loss={"kind": "categorical_crossentropy", "place": "mse"})
    ```

    ## Threshold
    None, the check is exact (how Keras 3.15 treats ``loss`` was tested; Keras' guide on training
    and evaluation, 2023, leaves out the loss of an output that should not be trained).
    """

    code = "SD118"
    name = "output-without-loss"
    severity = "warning"
    requires = (Wiring, GradientFlow)
    explains = {
        "SD201": "same_layer",
        "SD202": "same_layer",
        "SD402": "same_layer",
        "SD409": "same_layer",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.ignored is None:
            raise CannotJudge("there was no loss to trace back from")
        if wiring.ignored and wiring.own_training:
            raise CannotJudge("the model's own training step can use any output")
        for output in wiring.ignored:
            layers = _layers_without_gradient(measured, output)
            yield self._finding_of_output(measured, output, layers)

    def _finding_of_output(
        self, measured: Measurements, output: IgnoredOutput, layers: tuple[str, ...]
    ) -> Finding:
        reason = "has no loss" if output.weight is None else "has a loss weight of 0"
        source = compile_source(measured, layers[-1] if layers else None)
        one = len(layers) == 1
        effect = (
            f"{counted(len(layers), 'trainable layer')} that only this output depends on "
            f"({listed(layers)}) {'gets' if one else 'get'} no gradient. Give the output a loss, "
            f"or freeze {'it' if one else 'them'}"
            if layers
            else "no trainable layer lacks a gradient because of it. Give it a loss, unless it is "
            "only inspected"
        )
        return self.finding(
            f"output {label(output.name)} {reason}: {effect}{at_line(source)}",
            f'model.compile(…, loss={{…, "{label(output.name)}": …}})',
            layers=layers,
            evidence={"output": output.name, "weight": output.weight, "layers": list(layers)},
            source=source,
            severity="warning" if layers else "info",
        )


def _layers_without_gradient(measured: Measurements, output: IgnoredOutput) -> tuple[str, ...]:
    """Trainable layers without a gradient that this output depends on, and none with a loss."""
    wiring, flow = measured.need(Wiring), measured.need(GradientFlow)
    network = Network(wiring)
    others = {path for other in wiring.ignored or () for path in other.outputs}
    judged = network.upstream(path for path in network.outputs if path not in others)
    own = network.upstream(output.outputs) - judged
    fed = {variable.layer for variable in flow.variables if variable.norm}
    trained = {variable.layer for variable in flow.variables} - fed
    calls = (call for call in wiring.calls if call.path in own and call.parameters)
    return tuple(dict.fromkeys(call.layer for call in calls if call.layer in trained))
