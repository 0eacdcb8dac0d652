"""SD501: the output or the loss is computed in half precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds, source_of
from saldiag.core.measurement import DtypeTrace, LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, listed
from saldiag.rules.shared import edits
from saldiag.rules.shared.graph import Network

HALF_PRECISION_DTYPES = frozenset({"float16", "bfloat16"})


class HalfPrecisionOutput(Rule):
    """The model's output or its loss is computed in half precision.

    ## What it does
    Reads the actual dtypes of the model's outputs and of the loss.

    ## Why is this bad
    Half precision has only 8 (bfloat16) or 11 (float16) significant bits. Near 1, adjacent bfloat16
    values are 0.004 to 0.008 apart, float16 values 0.0005 to 0.001. A sigmoid reaches exactly 1.0
    early, its logarithm is inaccurate, and a mean over many pixels is rounded.

    ## Example
    ```python
    keras.mixed_precision.set_global_policy("mixed_float16")
    outputs = keras.layers.Activation("sigmoid")(x)
    ```

    ## Use instead
    ```python
    keras.mixed_precision.set_global_policy("mixed_float16")
    outputs = keras.layers.Activation("sigmoid", dtype="float32")(x)
    ```

    ## Threshold
    None: the check is exact (Micikevicius et al., Mixed Precision Training, 2018, section 3.3;
    Keras' guide on mixed precision, 2023: the last layer in float32).
    """

    code = "SD501"
    name = "half-precision-output"
    severity = "warning"
    requires = (DtypeTrace,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        trace = measured.need(DtypeTrace)
        half = [
            index
            for index, dtype in enumerate(trace.output_dtypes)
            if dtype in HALF_PRECISION_DTYPES
        ]
        if half:
            layers = _output_layers(measured, half)
            source = source_of(measured, layers[0]) if layers else None
            dtype = trace.output_dtypes[half[0]]
            yield self.finding(
                f"{listed(layers) if layers else counted(len(half), 'output')}: model output in "
                f"{dtype}. Compute {'it' if len(half) == 1 else 'them'} in float32"
                f"{at_line(source)}",
                'dtype="float32"  # of the last layer',
                layers=layers,
                evidence={
                    "output_dtypes": list(trace.output_dtypes),
                    "loss_dtype": trace.loss_dtype,
                },
                source=source,
                edits=_float32_edits(measured, half),
            )
        elif trace.loss_dtype in HALF_PRECISION_DTYPES:
            yield self.finding(
                f"the loss is computed in {label(trace.loss_dtype or '')}, the output in "
                f"{', '.join(trace.output_dtypes)}. Compute the loss in float32",
                'loss=keras.losses.MeanAbsoluteError(dtype="float32")  # or your own loss',
                evidence={
                    "output_dtypes": list(trace.output_dtypes),
                    "loss_dtype": trace.loss_dtype,
                },
            )


def _output_layers(measured: Measurements, outputs: Iterable[int]) -> tuple[str, ...]:
    """Layers that compute these outputs, each once."""
    return tuple(dict.fromkeys(call.layer for call in _output_calls(measured, outputs)))


def _output_calls(measured: Measurements, outputs: Iterable[int]) -> list[LayerCall]:
    """Leaf calls that compute these outputs; outputs of unknown calls are left out."""
    wiring = measured.get(Wiring)
    if wiring is None:
        return []
    leaves = Network(wiring).leaves
    paths = [wiring.outputs[index] for index in outputs if index < len(wiring.outputs)]
    return [leaves[path] for path in paths if path in leaves]


def _float32_edits(measured: Measurements, half: Sequence[int]) -> edits.Edits:
    """Edits to float32 in the layers that compute ``half``, if no operation follows them."""
    calls, wiring = _output_calls(measured, half), measured.get(Wiring)
    direct = wiring is not None and not {call.path for call in calls} & set(wiring.computed)
    if not direct or len(calls) != len(half):
        return ()
    return edits.all_or_none(
        *(edits.of_layer(measured, c, "dtype", None, '"float32"') for c in edits.layers_of(calls))
    )
