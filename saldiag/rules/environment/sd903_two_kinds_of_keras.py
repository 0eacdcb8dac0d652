"""SD903: objects of an older Keras in a model of Keras 3."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import ForeignObject, ForeignObjects, Measurements
from saldiag.rules.shared.wording import counted, label, listed


class TwoKindsOfKeras(Rule):
    """A model of Keras 3 holds layers, a loss or callbacks of the Keras before.

    ## What it does
    Looks through the attributes of the model and its layers, the optimizer, the loss and the
    callbacks for objects whose class comes from ``tf_keras`` or ``tensorflow.python.keras``. Layers
    are an error, anything else is a warning.

    ## Why is this bad
    Keras 3 does not know such a layer: it is called, but its weights are in no list, so that they
    are neither trained nor saved. Losses and callbacks of the other Keras read attributes that
    Keras 3 does not have.

    ## Example
    ```python
    from tensorflow.python.keras import layers  # Keras 2, and private

    self.hidden = layers.Dense(64)
    ```

    ## Use instead
    ```python
    from keras import layers

    self.hidden = layers.Dense(64)
    ```

    ## Threshold
    None: a single object is one too many (Keras 3, 2023: its migration guide asks for ``keras`` in
    every import).
    """

    code = "SD903"
    name = "two-kinds-of-keras"
    severity = "error"
    requires = (ForeignObjects,)
    explains = {
        "SD109": "anywhere", "SD110": "anywhere", "SD201": "anywhere", "SD401": "anywhere",
        "SD402": "anywhere", "SD801": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        objects = measured.need(ForeignObjects).objects
        layers = [found for found in objects if found.layer is not None]
        others = [found for found in objects if found.layer is None]
        if layers:
            lost = sum(found.parameters for found in layers)
            yield self._found(
                layers,
                f"Keras 3 does not track them: {counted(lost, 'parameter')} stay as they are",
            )
        if others:
            yield self._found(others, "Keras 3 has another interface", severe=False)

    def _found(self, found: list[ForeignObject], effect: str, *, severe: bool = True) -> Finding:
        package = label(found[0].package)
        return self.finding(
            f"{listed(f.place for f in found)}: {counted(len(found), 'object')} of {package} "
            f"(threshold 0) in a model of Keras 3. {effect}. Import all from keras",
            f"from keras import layers  # not from {package}",
            layers=tuple(dict.fromkeys(f.layer for f in found if f.layer)),
            evidence={
                "objects": len(found),
                "kinds": sorted({f.kind for f in found}),
                "package": found[0].package,
                "parameters": sum(f.parameters for f in found),
                "threshold": 0.0,
            },
            severity="error" if severe else "warning",
        )
