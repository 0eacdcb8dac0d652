"""SD408: the model computes with weights that Keras does not track."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, UntrackedWeights, Wiring
from saldiag.core.wording import at_line, counted, label, listed


class WeightsNotTracked(Rule):
    """The output depends on trainable weights that Keras does not list in the model.

    ## What it does
    Compares the variables that the traced forward pass reads with those that the model lists.
    Reports ``tf.Variable`` attributes, and layers that are called but that Keras does not find
    because they are stored in an object of another class, in a ``deque``, or in the closure of a
    function or ``Lambda``. Ignored are non-trainable weights, weights that no gradient can reach,
    weights that only the loss uses (a perceptual loss, a teacher), and models with a custom
    training step.

    ## Why is this bad
    ``fit`` trains and ``save`` writes only what the model lists. These weights keep their random
    values, and get other random values after loading.

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
    None; the check is exact: a variable is in the model's list or it is not. (What Keras 3.15
    tracks was determined by experiment; its guide on making new layers and models, 2023, shows how
    to store layers.)
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
            raise CannotJudge("no loss was found to trace the weights back from")
        if wiring.untracked and wiring.own_training:
            raise CannotJudge(
                "the model's custom training step can train variables that the model does not list"
            )
        layers = [found for found in wiring.untracked if found.of_layer]
        if layers:
            yield self._untracked_layers(layers)
        variables = [found for found in wiring.untracked if not found.of_layer]
        if variables:
            yield self._untracked_variables(variables)

    def _untracked_layers(self, found: Sequence[UntrackedWeights]) -> Finding:
        layers = tuple(weights.layer for weights in found)
        parameters = sum(weights.parameters for weights in found)
        source = next((weights.source for weights in found if weights.source), None)
        name = label(layers[0].rpartition("/")[2])
        them = "it" if len(layers) == 1 else "them"
        return self.finding(
            f"{listed(layers)}: called, but not among the model's layers; Keras neither trains nor "
            f"saves {counted(len(layers), 'layer')} with {parameters:,} trainable parameters. "
            f"Store {them} as an attribute, or in a list or dict attribute, of the layer that "
            f"calls {them}, not in another object, a closure or a Lambda{at_line(source)}",
            f"self.{name} = {name}  # in __init__ of the model, or of a keras.layers.Layer",
            layers=layers,
            evidence={"layers": layers, "parameters": parameters},
            source=source,
        )

    def _untracked_variables(self, found: Sequence[UntrackedWeights]) -> Finding:
        names = [f"{weights.layer}.{weights.name}".lstrip(".") for weights in found]
        what, them = ("a tf.Variable", "it") if len(names) == 1 else ("tf.Variables", "them")
        parameters = sum(weights.parameters for weights in found)
        values = "value" if parameters == 1 else "values"
        source = next((weights.source for weights in found if weights.source), None)
        return self.finding(
            f"{listed(names)}: {what}, which Keras neither trains nor saves; the loss depends on "
            f"{parameters:,} such {values}. Create {them} with add_weight, or with "
            f"trainable=False to keep {them} constant{at_line(source)}",
            f"self.{label(found[0].name)} = self.add_weight(shape=…, initializer=…)",
            layers=tuple(dict.fromkeys(weights.layer for weights in found if weights.layer)),
            evidence={"variables": names, "parameters": parameters},
            source=source,
            severity="warning",
            confidence=0.9,
        )
