"""SD903: legacy Keras objects in a Keras 3 model."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import ForeignObject, ForeignObjects, Measurements
from saldiag.core.wording import counted, label, listed


class TwoKindsOfKeras(Rule):
    """A Keras 3 model contains layers, a loss or callbacks of legacy Keras.

    ## What it does
    Searches the attributes of the model and its layers, the optimizer, the loss and the callbacks
    for objects whose class comes from ``tf_keras`` or ``tensorflow.python.keras``. Layers are an
    error, other objects a warning.

    ## Why is this bad
    Keras 3 does not recognise such a layer: it calls the layer, but does not track its weights,
    which are neither trained nor saved. Losses and callbacks of legacy Keras read attributes that
    Keras 3 does not have.

    ## Example
    ```python
    from tensorflow.python.keras import layers  # Keras 2, private API

    self.hidden = layers.Dense(64)
    ```

    ## Use instead
    ```python
    from keras import layers

    self.hidden = layers.Dense(64)
    ```

    ## Threshold
    None: a single such object is an error (Keras 3, 2023: its migration guide imports everything
    from ``keras``).
    """

    code = "SD903"
    name = "two-kinds-of-keras"
    severity = "error"
    requires = (ForeignObjects,)
    explains = {
        "SD109": "anywhere",
        "SD110": "anywhere",
        "SD201": "anywhere",
        "SD401": "anywhere",
        "SD402": "anywhere",
        "SD801": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        objects = measured.need(ForeignObjects).objects
        layers = [found for found in objects if found.layer is not None]
        others = [found for found in objects if found.layer is None]
        if layers:
            untracked = sum(found.parameters for found in layers)
            yield self._legacy_objects_finding(
                layers,
                f"Keras 3 does not track {'it' if len(layers) == 1 else 'them'}: "
                f"{counted(untracked, 'parameter')} "
                f"{'is' if untracked == 1 else 'are'} not trained",
            )
        if others:
            yield self._legacy_objects_finding(
                others, "Keras 3 uses another interface", is_error=False
            )

    def _legacy_objects_finding(
        self, found: list[ForeignObject], effect: str, *, is_error: bool = True
    ) -> Finding:
        package = label(found[0].package)
        return self.finding(
            f"{listed(f.place for f in found)}: {counted(len(found), 'object')} of {package} "
            f"(threshold 0) in a Keras 3 model. {effect}. Import everything from keras",
            f"from keras import layers  # not from {package}"
            if is_error
            else f"import keras  # not {package}",
            layers=tuple(dict.fromkeys(f.layer for f in found if f.layer)),
            evidence={
                "objects": len(found),
                "kinds": sorted({f.kind for f in found}),
                "package": found[0].package,
                "parameters": sum(f.parameters for f in found),
                "threshold": 0.0,
            },
            severity="error" if is_error else "warning",
        )
