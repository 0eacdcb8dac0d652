"""SD101: a softmax over an axis of size 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import (
    DataFacts,
    FlowRow,
    GradientFlow,
    LayerCall,
    Measurements,
    Wiring,
)
from saldiag.core.wording import at_line, label, listed, number
from saldiag.rules.shared import edits
from saldiag.rules.shared.gradient_cut import LIMITS
from saldiag.rules.shared.graph import Network, is_shape_only
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES, SQUASHING, axis_size, from_logits


class SingleChannelSoftmax(Rule):
    """Softmax over an axis of size 1 always returns 1.

    ## What it does
    Finds every softmax (as an activation, a layer or a bare operation) over an axis with one
    element. The softmax inside Keras' attention layers is ignored: with a single key it passes the
    value through, and the layers that make the value still get a gradient.

    ## Why is this bad
    exp(x) / exp(x) is 1 for every x. The output is constant, its derivative is exactly 0, and no
    layer before the softmax can learn, whatever the loss scale, the learning rate or the amount of
    data. Keras 3's cross-entropies are computed from the logits before the softmax, which lets the
    loss fall although ``predict`` returns 1 for every input.

    ## Example
    ```python
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="softmax")(x)
    ```

    ## Use instead
    ```python
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    ```

    ## Threshold
    None, the check is exact (Bridle, Probabilistic interpretation of feedforward classification
    network outputs, 1990: softmax generalises the logistic function to two or more classes).
    """

    code = "SD101"
    name = "single-channel-softmax"
    severity = "error"
    requires = (Wiring,)
    explains = {
        "SD102": "same_layer",
        "SD103": "anywhere",
        "SD201": "upstream",
        "SD302": "downstream",
        "SD402": "upstream",
        "SD801": "anywhere",
        "SD901": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        attention = _attention_layers(wiring)
        calls = [call for call in wiring.calls if _is_constant_softmax(call, attention)]
        if not calls:
            return
        layers = tuple(dict.fromkeys(call.layer for call in calls))
        gradients, effect = _gradients_around(measured.get(GradientFlow), calls)
        source = next(filter(None, (source_of(measured, layer) for layer in layers)), None)
        certain = _edits_to_one_sigmoid(measured, calls)
        yield self.finding(
            f"{listed(layers)}: softmax over an axis of size 1 is the constant 1.0"
            f"{effect}. Use sigmoid instead{at_line(source)}",
            edits.told(certain) or _fix_without_edits(layers),
            layers=layers,
            evidence={"axis_size": 1, "activation": "softmax", **gradients},
            source=source,
            edits=certain,
        )


def _attention_layers(wiring: Wiring) -> tuple[str, ...]:
    kinds = (call for call in wiring.calls if call.kind.endswith("Attention"))
    return tuple(call.layer for call in kinds)


def _is_constant_softmax(call: LayerCall, attention: Sequence[str]) -> bool:
    if not call.leaf or call.activation not in ("softmax", "log_softmax") or axis_size(call) != 1:
        return False
    return not any(call.layer == name or call.layer.startswith(f"{name}/") for name in attention)


def _gradients_around(
    flow: GradientFlow | None, calls: Sequence[LayerCall]
) -> tuple[dict[str, float], str]:
    """The gradient norms after the last softmax and before the first, as evidence and as text.

    Both are empty where the gradient flow was not measured.
    """
    rows: dict[str, FlowRow] = {row.path: row for row in flow.rows} if flow else {}
    last, first = rows.get(calls[-1].path), rows.get(calls[0].path)
    if last is None or first is None:
        return {}, ""
    after, before = last.output_gradient, first.input_gradient
    if after is None or before is None:
        return {}, ""
    effect = _effect_on_gradient(before, after)
    return {"gradient_after": after, "gradient_before": before}, f"; {effect}"


def _effect_on_gradient(before: float, after: float) -> str:
    if before > LIMITS["rounding"] * after:
        return (
            f"|dL/dx| before it is still {number(before)}, because the loss uses the logits before "
            "the softmax: the loss falls, but every prediction stays 1.0"
        )
    # TensorFlow's softmax sometimes returns 0.99999994, which lets 6e-8 of the gradient through.
    rest = "0" if before == 0 else f"0 up to rounding ({number(before)})"
    return f"|dL/dx| is {number(after)} after it and {rest} before it"


def _fix_without_edits(layers: Sequence[str]) -> str:
    first, *rest = layers
    also = f"; delete {listed(rest)}" if rest else ""
    return f'activation="sigmoid"  # in {label(first)}{also}'


def _edits_to_one_sigmoid(measured: Measurements, calls: Sequence[LayerCall]) -> edits.Edits:
    """Edits that leave each output one sigmoid; empty unless all of them are certain.

    A softmax that does not make an output gets no edit: the wrong part can be its axis.
    """
    if not _targets_fit_sigmoid(measured):
        return ()
    network = Network(measured.need(Wiring))
    last = [call for call in calls if _makes_an_output(network, call)]
    parts = [_edits_of_output(measured, network, call) for call in edits.layers_of(last)]
    to_change = {call.layer for call in calls}
    changes = edits.all_or_none(*parts)
    return changes if to_change <= {edit.layer for edit in changes} else ()


def _targets_fit_sigmoid(measured: Measurements) -> bool:
    """Whether the loss expects probabilities and all targets lie within [0, 1]."""
    wiring, facts = measured.need(Wiring), measured.get(DataFacts)
    if from_logits(wiring) or wiring.loss in CROSS_ENTROPIES - {"binary_crossentropy"}:
        return False
    targets = facts.targets if facts is not None else ()
    known = bool(targets) or wiring.loss == "binary_crossentropy"
    return known and all(target.minimum >= 0 and target.maximum <= 1 for target in targets)


def _makes_an_output(network: Network, call: LayerCall) -> bool:
    """Whether only shape-only layers lie between the call and an output, and no branch leaves."""
    path, outputs = call.path, set(network.outputs) - network.computed
    while path not in outputs:
        after = network.consumers(path)
        if len(after) != 1 or not is_shape_only(network.leaves[after[0]]):
            return False
        path = after[0]
    return not network.consumers(path)


def _edits_of_output(measured: Measurements, network: Network, call: LayerCall) -> edits.Edits:
    """Sigmoid instead of the last softmax, and no activation in a squashing layer before it."""
    if call.activation != "softmax":
        return ()
    replaced = edits.activation(measured, call, "sigmoid")
    before = network.before(call.path)
    if call.parameters or before is None or before.activation is None:
        return replaced
    if before.activation not in SQUASHING or len(network.consumers(before.path)) != 1:
        return ()
    return edits.all_or_none(replaced, edits.activation(measured, before, None))
