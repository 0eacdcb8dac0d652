"""SD403: frozen before anything was learnt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import Measurements, TrainableRow, TrainableStatus, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, counted, listed, number


class FrozenAtRandomStart(Rule):
    """Frozen layers hold weights that are still those of their initializer.

    ## What it does
    Compares the values of every frozen kernel with the distribution that the layer's initializer
    draws from. Where they cannot be told apart, the layer was frozen without having learnt. Layers
    that only a loss of ``add_loss`` reads are left alone: a target network follows another one.
    BatchNorms at their start values in the same block make it the surer.

    ## Why is this bad
    A random layer in front of a pretrained one destroys what that one expects to see, and being
    frozen it never gets better. Usually weights were not loaded, or not for this layer.

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
      above it they differ at the 1 % level (Massey, The Kolmogorov-Smirnov test for goodness of
      fit, 1951, table 1).
    - `min_values` = 100: fewest values of a kernel; of fewer, learnt ones may pass for random.
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
        apart = Network(wiring).only_in_losses() if wiring is not None else set[str]()
        kernels = [row for row in status.rows if _is_kernel(row) and row.layer not in apart]
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
        yield self.finding(
            f"{listed(layers)}: frozen, and {counted(len(random), 'kernel')} of {len(frozen)} "
            f"cannot be told from a random start (distance up to {number(distance)}, threshold "
            f"{number(limits['distance'])}). Load weights, or let it train{at(source)}",
            "layer.trainable = True  # or load its weights: --weights FILE",
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
    """Many values, several kernels or a BatchNorm at its start beside them leave no doubt."""
    parents = {row.layer.rpartition("/")[0] for row in random}
    norms = any(n.at_start and n.path.rpartition("/")[0] in parents for n in status.normalization)
    return 0.95 if norms or len(random) > 1 or max(row.size for row in random) >= 1000 else 0.7
