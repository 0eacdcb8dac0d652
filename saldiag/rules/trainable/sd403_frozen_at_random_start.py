"""SD403: layers are frozen with random weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, TrainableRow, TrainableStatus, Wiring
from saldiag.core.wording import at_line, counted, listed, number
from saldiag.rules.shared.graph import Network


class FrozenAtRandomStart(Rule):
    """Frozen layers still hold the random values of their initializer.

    ## What it does
    Compares the values of every frozen kernel with the distribution that the layer's initializer
    draws from. If the test cannot tell them apart, the layer was frozen before it learned anything.
    BatchNorm layers at their initial values in the same block raise the confidence. Layers that
    only an ``add_loss`` loss reads are ignored: a target network is updated from another network.

    ## Why is this bad
    A random layer in front of a pretrained one destroys the features that the pretrained one
    expects, and a frozen layer never improves. Usually the weights were not loaded, or not for this
    layer.

    ## Example
    ```python
    encoder = keras.applications.MobileNetV2(weights=None, include_top=False)
    encoder.trainable = False
    ```

    ## Use instead
    ```python
    encoder = keras.applications.MobileNetV2(weights="imagenet", include_top=False)
    encoder.trainable = False
    ```

    ## Threshold
    - `distance` = 1.63: Kolmogorov-Smirnov distance times the square root of the number of values;
      above it the distributions differ at the 1 % level (Massey, The Kolmogorov-Smirnov test for
      goodness of fit, 1951, table 1).
    - `min_values` = 100: fewest values in a kernel; in smaller kernels, learned values can look
      random.
    """

    code = "SD403"
    name = "frozen-at-random-start"
    severity = "warning"
    requires = (TrainableStatus,)
    thresholds = {"distance": 1.63, "min_values": 100}
    explains = {"SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        status = measured.need(TrainableStatus)
        wiring = measured.get(Wiring)
        only_in_losses = Network(wiring).only_in_losses() if wiring is not None else set[str]()
        kernels = [
            row for row in status.rows if _is_kernel(row) and row.layer not in only_in_losses
        ]
        frozen = [row for row in kernels if not row.in_model]
        random = [
            row
            for row in frozen
            if row.size >= limits["min_values"] and row.start_distance < limits["distance"]
        ]
        if not random:
            return
        layers = tuple(dict.fromkeys(row.layer for row in random))
        source = source_of(measured, layers[0])
        distance = max(row.start_distance for row in random)
        match = "matches" if len(random) == 1 else "match"
        them = "it" if len(layers) == 1 else "them"
        yield self.finding(
            f"{listed(layers)}: frozen, but {len(random)} of "
            f"{counted(len(frozen), 'frozen kernel')} still {match} the random initializer "
            f"(Kolmogorov-Smirnov distance up to {number(distance)}, threshold "
            f"{number(limits['distance'])}). Load pretrained weights, or unfreeze {them}"
            f"{at_line(source)}",
            "layer.trainable = True  # or load its weights: model.load_weights(path)",
            layers=layers,
            evidence={
                "distance": distance,
                "threshold": limits["distance"],
                "kernels": len(random),
                "frozen_kernels": len(frozen),
                "parameters": sum(row.size for row in random),
            },
            source=source,
            confidence=_confidence(status, random),
        )


def _is_kernel(row: TrainableRow) -> bool:
    return row.role.endswith(("kernel", "embeddings"))


def _confidence(status: TrainableStatus, random: Sequence[TrainableRow]) -> float:
    """Higher for several kernels, a large one, or a BatchNorm beside them at its initial values."""
    parents = {row.layer.rpartition("/")[0] for row in random}
    norms = any(n.at_start and n.path.rpartition("/")[0] in parents for n in status.normalization)
    return 0.95 if norms or len(random) > 1 or max(row.size for row in random) >= 1000 else 0.7
