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
from saldiag.rules.shared import edits
from saldiag.rules.shared.gradient_cut import LIMITS
from saldiag.rules.shared.graph import Network, is_shape_only
from saldiag.rules.shared.output_heads import CROSS_ENTROPIES, SQUASHING, axis_size, from_logits
from saldiag.rules.shared.wording import at, label, listed, number


class SingleChannelSoftmax(Rule):
    """Softmax over an axis of size 1 is the constant 1.

    ## What it does
    Finds every softmax (as an activation, a layer or a bare operation) that runs over an axis with
    one element. The attention layers' own softmax is left alone: with a single key it hands the
    value through, and cuts nothing.

    ## Why is this bad
    exp(x) / exp(x) is 1 whatever x is: the output is constant, its derivative is exactly 0, and
    nothing upstream can learn, with any loss scale, learning rate or amount of data. Keras 3's
    cross-entropies take the logits behind the softmax, so that the loss falls all the same while
    ``predict`` returns 1 for every input.

    ## Example
    ```python
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="softmax")(x)
    ```

    ## Use instead
    ```python
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    ```

    ## Threshold
    None, it is exact (Bridle, Probabilistic interpretation of feedforward classification network
    outputs, 1990: softmax generalises the logistic function to two classes and more).
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
        attention = _attention(wiring)
        calls = [call for call in wiring.calls if _is_constant(call, attention)]
        if not calls:
            return
        layers = tuple(dict.fromkeys(call.layer for call in calls))
        flow, told = _flow(measured.get(GradientFlow), calls)
        source = next(filter(None, (source_of(measured, layer) for layer in layers)), None)
        certain = _edits(measured, calls)
        yield self.finding(
            f"{listed(layers)}: softmax over an axis of size 1 is the constant 1.0"
            f"{told}. Use sigmoid{at(source)}",
            edits.told(certain) or _fix(layers),
            layers=layers,
            evidence={"axis_size": 1, "activation": "softmax", **flow},
            source=source,
            edits=certain,
        )


def _attention(wiring: Wiring) -> tuple[str, ...]:
    kinds = (call for call in wiring.calls if call.kind.endswith("Attention"))
    return tuple(call.layer for call in kinds)


def _is_constant(call: LayerCall, attention: Sequence[str]) -> bool:
    if not call.leaf or call.activation not in ("softmax", "log_softmax") or axis_size(call) != 1:
        return False
    return not any(call.layer == name or call.layer.startswith(f"{name}/") for name in attention)


def _flow(flow: GradientFlow | None, calls: Sequence[LayerCall]) -> tuple[dict[str, float], str]:
    """The gradient after the last softmax and before the first, where it was measured."""
    rows: dict[str, FlowRow] = {row.path: row for row in flow.rows} if flow else {}
    last, first = rows.get(calls[-1].path), rows.get(calls[0].path)
    if last is None or first is None:
        return {}, ""
    after, before = last.output_gradient, first.input_gradient
    if after is None or before is None:
        return {}, ""
    return {"gradient_after": after, "gradient_before": before}, f"; {_told(before, after)}"


def _told(before: float, after: float) -> str:
    if before > LIMITS["rounding"] * after:
        return (
            f"|dL/dx| before it is {number(before)} all the same, since the loss takes the logits "
            "behind it: the loss falls, and every prediction stays 1.0"
        )
    # TensorFlow's softmax rounds to 0.99999994 in places, which leaves 6e-8 of the gradient.
    rest = "0" if before == 0 else f"0 but for rounding: {number(before)}"
    return f"|dL/dx| before it is {rest} (after it {number(after)})"


def _fix(layers: Sequence[str]) -> str:
    first, *rest = layers
    also = f"; delete {listed(rest)}" if rest else ""
    return f'activation="sigmoid"  # in {label(first)}{also}'


def _edits(measured: Measurements, calls: Sequence[LayerCall]) -> edits.Edits:
    """One sigmoid for each output, and no other activation before it, where all of it is certain.

    A softmax that makes no output may be meant to run over another axis.
    """
    if not _in_unit_interval(measured):
        return ()
    network = Network(measured.need(Wiring))
    last = [call for call in calls if _makes_output(network, call)]
    parts = [_one_sigmoid(measured, network, call) for call in edits.layers_of(last)]
    wanted = {call.layer for call in calls}
    found = edits.all_or_none(*parts)
    return found if wanted <= {edit.layer for edit in found} else ()


def _in_unit_interval(measured: Measurements) -> bool:
    """Whether a sigmoid is what the loss and the targets want."""
    wiring, facts = measured.need(Wiring), measured.get(DataFacts)
    if from_logits(wiring) or wiring.loss in CROSS_ENTROPIES - {"binary_crossentropy"}:
        return False
    targets = facts.targets if facts is not None else ()
    known = bool(targets) or wiring.loss == "binary_crossentropy"
    return known and all(target.minimum >= 0 and target.maximum <= 1 for target in targets)


def _makes_output(network: Network, call: LayerCall) -> bool:
    """Whether nothing but changes of shape stands between a call and the one output it makes."""
    path, outputs = call.path, set(network.outputs) - network.computed
    while path not in outputs:
        after = network.consumers(path)
        if len(after) != 1 or not is_shape_only(network.leaves[after[0]]):
            return False
        path = after[0]
    return not network.consumers(path)


def _one_sigmoid(measured: Measurements, network: Network, call: LayerCall) -> edits.Edits:
    """Sigmoid for the last softmax; where it only follows another one, that one is taken away."""
    if call.activation != "softmax":
        return ()
    mended = edits.activation(measured, call, "sigmoid")
    before = network.before(call.path)
    if call.parameters or before is None or before.activation is None:
        return mended
    if before.activation not in SQUASHING or len(network.consumers(before.path)) != 1:
        return ()
    return edits.all_or_none(mended, edits.activation(measured, before, None))
