"""SD408: the model computes with weights that it does not know of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, UntrackedWeights, Wiring
from saldiag.rules.shared.wording import at, counted, label, listed


class WeightsNotTracked(Rule):
    """The output depends on trainable weights that Keras does not list as the model's.

    ## What it does
    Compares the variables that the traced forward pass reads with those that the model lists.
    Reported are layers that are called and that Keras does not find, since they are kept in an
    object of another class, in the closure of a function or of a ``Lambda``, or in a ``deque``, and
    ``tf.Variable`` attributes. Weights flagged as not trainable, weights that no gradient could
    come to, those of the loss alone (a perceptual loss, a teacher), and models with a training
    step of their own are left alone.

    ## Why is this bad
    ``fit`` trains what the model lists, and ``save`` writes it. These weights keep their random
    start, and another random start after loading.

    ## Example
    ```python
    project = keras.layers.Dense(64)
    x = keras.layers.Lambda(lambda t: keras.ops.relu(project(t)))(x)
    ```

    ## Use instead
    ```python
    x = keras.layers.Dense(64, activation="relu")(x)
    ```

    ## Threshold
    None, it is exact: a variable is among the model's or it is not (what Keras 3.15 tracks was
    tried out; its guide on making new layers and models, 2023, says how to keep them).
    """

    code = "SD408"
    name = "weights-not-tracked"
    severity = "error"
    requires = (Wiring,)
    explains = {
        "SD201": "anywhere",
        "SD401": "anywhere",
        "SD402": "anywhere",
        "SD801": "anywhere",
        "SD901": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        wiring = measured.need(Wiring)
        if wiring.untracked is None:
            raise CannotJudge("there was no loss to look back from")
        if wiring.untracked and wiring.own_training:
            raise CannotJudge("the model's own training step can train what it does not list")
        layers = [found for found in wiring.untracked if found.of_layer]
        if layers:
            yield self._layers(layers)
        variables = [found for found in wiring.untracked if not found.of_layer]
        if variables:
            yield self._variables(variables)

    def _layers(self, found: Sequence[UntrackedWeights]) -> Finding:
        layers = tuple(weights.layer for weights in found)
        parameters = sum(weights.parameters for weights in found)
        source = next((weights.source for weights in found if weights.source), None)
        name = label(layers[0].rpartition("/")[2])
        return self.finding(
            f"{listed(layers)}: called, and not among the model's layers; Keras neither trains nor "
            f"saves {counted(len(layers), 'layer')} with {parameters:,} trainable parameters. Keep "
            f"each as an attribute, in a list or a dict of the layer that calls it, not in an "
            f"object, a closure or a Lambda{at(source)}",
            f"self.{name} = {name}  # in __init__ of the model, or of a keras.layers.Layer",
            layers=layers,
            evidence={"layers": layers, "parameters": parameters},
            source=source,
        )

    def _variables(self, found: Sequence[UntrackedWeights]) -> Finding:
        names = [f"{weights.layer}.{weights.name}".lstrip(".") for weights in found]
        parameters = sum(weights.parameters for weights in found)
        source = next((weights.source for weights in found if weights.source), None)
        return self.finding(
            f"{listed(names)}: a tf.Variable, which Keras neither trains nor saves; the loss "
            f"depends on {parameters:,} such numbers. Make it with add_weight, or say "
            f"trainable=False where it is meant to stay{at(source)}",
            f"self.{label(found[0].name)} = self.add_weight(shape=…, initializer=…)",
            layers=tuple(dict.fromkeys(weights.layer for weights in found if weights.layer)),
            evidence={"variables": names, "parameters": parameters},
            source=source,
            severity="warning",
            confidence=0.9,
        )
