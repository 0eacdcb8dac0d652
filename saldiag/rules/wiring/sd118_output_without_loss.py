"""SD118: one of several outputs has no part in the loss."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, compile_source
from saldiag.core.measurement import GradientFlow, IgnoredOutput, Measurements, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, counted, label, listed


class OutputWithoutLoss(Rule):
    """The loss takes no notice of one of several outputs.

    ## What it does
    Finds outputs that have no loss (``None`` in a list, a key that a dict lacks) or whose loss has
    a weight of 0. Where layers that lead to this output alone are trainable and get no gradient it
    is a warning; where there are none, as with an output that is there to be looked at, a note. An
    output that another one is made of has a part in the loss. Models with a training step or a loss
    of their own are left alone.

    ## Why is this bad
    Keras says nothing: the layers of this output are counted as trainable, keep their random start,
    and give predictions like any other.

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
    None, it is exact (what Keras 3.15 makes of its ``loss`` was tried out; its guide on training
    and evaluation, 2023, leaves a loss out for an output that is not meant to be trained).
    """

    code = "SD118"
    name = "output-without-loss"
    severity = "warning"
    requires = (Wiring, GradientFlow)
    explains = {
        "SD201": "same_layer", "SD202": "same_layer",
        "SD402": "same_layer", "SD409": "same_layer",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.ignored is None:
            raise CannotJudge("there was no loss to look from")
        if wiring.ignored and wiring.own_training:
            raise CannotJudge("the model's own training step can use outputs as it likes")
        for output in wiring.ignored:
            yield self._ignored(measured, output, _starving(measured, output))

    def _ignored(
        self, measured: Measurements, output: IgnoredOutput, layers: tuple[str, ...]
    ) -> Finding:
        how = "has no loss" if output.weight is None else "has a loss of weight 0"
        source = compile_source(measured, layers[-1] if layers else None)
        what = (
            f"{counted(len(layers), 'trainable layer')} that lead to it alone ({listed(layers)}) "
            "get no gradient and keep their start. Give it a loss, or freeze them"
            if layers
            else "no trainable layer leads to it alone. Nothing is lost where it is there to be "
            "looked at"
        )
        return self.finding(
            f"output {label(output.name)} {how}: {what}{at(source)}",
            f'model.compile(…, loss={{…, "{label(output.name)}": …}})',
            layers=layers,
            evidence={"output": output.name, "weight": output.weight, "layers": list(layers)},
            source=source,
            severity="warning" if layers else "info",
        )


def _starving(measured: Measurements, output: IgnoredOutput) -> tuple[str, ...]:
    """Layers that lead to this output and to none with a loss, and that get no gradient."""
    wiring, flow = measured.need(Wiring), measured.need(GradientFlow)
    network = Network(wiring)
    others = {path for other in wiring.ignored or () for path in other.outputs}
    judged = network.upstream(path for path in network.outputs if path not in others)
    own = network.upstream(output.outputs) - judged
    fed = {variable.layer for variable in flow.variables if variable.norm}
    trained = {variable.layer for variable in flow.variables} - fed
    calls = (call for call in wiring.calls if call.path in own and call.parameters)
    return tuple(dict.fromkeys(call.layer for call in calls if call.layer in trained))
