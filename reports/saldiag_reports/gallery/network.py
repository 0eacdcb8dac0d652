"""The network of the sample reports: QUICKSAL's layers, with numbers computed by formulas.

Nothing is measured: the numbers are smooth functions of the position in the network, the same on
every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from saldiag.core.measurement import (
    ActivationRow,
    Activations,
    Cast,
    DtypeRow,
    DtypeTrace,
    FlowRow,
    GradientFlow,
    GradientHistory,
    LayerCall,
    NormalizationRow,
    Source,
    TrainableRow,
    TrainableStatus,
    VariableGradient,
    VariableInfo,
    Wiring,
)

FILE = "saldiag/quicksal/as_reported.py"
STEPS = np.array([0, 1, 2, 3, 4, 6, 9, 14, 22, 35, 56, 59])


@dataclass(frozen=True)
class SampleLayer:
    """One layer of the sample network."""

    path: str
    """Path of the layer."""
    kind: str
    """Name of its class."""
    variables: tuple[tuple[str, int], ...] = ()
    """Name and number of elements of each variable."""
    frozen: bool = False
    """Whether it is not trainable."""
    activation: str | None = None
    """Name of its activation; None if it has none."""


def _encoder_layers() -> list[SampleLayer]:
    layers = [SampleLayer("encoder/Conv1", "Conv2D", (("kernel", 864),), frozen=True)]
    for number in range(1, 17):
        stem = f"encoder/block_{number}"
        width = 24 * (1 + number // 3)
        for part, kind in (("expand", "Conv2D"), ("depthwise", "DepthwiseConv2D")):
            kernel = (("kernel", width * 54),)
            layers.append(SampleLayer(f"{stem}_{part}", kind, kernel, frozen=True))
            norm = (("gamma", width * 6), ("beta", width * 6))
            layers.append(SampleLayer(f"{stem}_{part}_BN", "BatchNormalization", norm, frozen=True))
            layers.append(SampleLayer(f"{stem}_{part}_relu", "ReLU", activation="relu6"))
    return layers


def _inception_layers(number: int, width: int) -> list[SampleLayer]:
    stem = f"inception_{number}"
    layers = [SampleLayer(f"{stem}/expand", "Conv2D", (("kernel", width * width * 6),))]
    for branch in (1, 3, 5, 7)[: 2 + (number < 5) + (number < 3)]:
        kernel = (("kernel", branch * branch * width * 6),)
        layers.append(SampleLayer(f"{stem}/depthwise_{branch}", "DepthwiseConv2D", kernel))
        norm = (("gamma", width * 6), ("beta", width * 6))
        layers.append(SampleLayer(f"{stem}/depthwise_{branch}_bn", "BatchNormalization", norm))
    layers.append(SampleLayer(f"{stem}/relu", "ReLU", activation="relu"))
    layers.append(SampleLayer(f"{stem}/project", "Conv2D", (("kernel", width * width * 12),)))
    layers.append(
        SampleLayer(f"{stem}/upsample", "Conv2DTranspose", (("kernel", width * width * 9),))
    )
    return layers


def sample_network(head: str) -> list[SampleLayer]:
    """Encoder, five inception blocks, and an output layer with the activation ``head``."""
    layers = _encoder_layers()
    for number, width in ((5, 96), (4, 32), (3, 24), (2, 16), (1, 16)):
        layers += _inception_layers(number, width)
    layers.append(SampleLayer("Convf1", "Conv2DTranspose", (("kernel", 1152),)))
    layers.append(SampleLayer("Convf2", "Conv2DTranspose", (("kernel", 72),), activation=head))
    if head == "softmax":
        layers.append(SampleLayer("softmax_output", "Activation", activation="softmax"))
    return layers


def make_wiring(model: str, layers: list[SampleLayer]) -> Wiring:
    """The calls in order; each gets the output of the one before."""
    calls = tuple(
        LayerCall(
            path=layer.path,
            layer=layer.path,
            kind=layer.kind,
            depth=layer.path.count("/"),
            leaf=True,
            inputs=(layers[index - 1].path if index else "",),
            input_shapes=((None, 96, 96, 16),),
            output_shapes=((None, 96, 96, 1 if index > len(layers) - 3 else 16),),
            activation=layer.activation,
            axis=-1 if layer.activation == "softmax" else None,
            trainable=not layer.frozen,
            parameters=sum(size for _, size in layer.variables),
            source=Source(FILE, 40 + index) if index > len(layers) - 4 else None,
        )
        for index, layer in enumerate(layers)
    )
    total = sum(call.parameters for call in calls)
    free = sum(call.parameters for call in calls if call.trainable)
    return Wiring(
        model=model, calls=calls, outputs=(calls[-1].path,), loss="mae", loss_config={},
        optimizer="adam", learning_rate=1e-3, precision="mixed_float16", loss_scaled=True,
        parameters=total, trainable_parameters=free,
    )  # fmt: skip


def _gradient_strength(index: int, length: int) -> float:
    return 10 ** (-2.6 + 2.1 * index / length + 0.35 * math.sin(index * 1.7))


def make_flow(layers: list[SampleLayer], cut: bool) -> GradientFlow:
    """Gradients along the network; with ``cut`` the last layer passes none on."""
    length = len(layers)
    rows = []
    for index, layer in enumerate(layers):
        last = index == length - 1
        dead = cut and not last
        output = 0.0 if dead else _gradient_strength(index + 1, length)
        before = 0.0 if cut else _gradient_strength(index, length)
        if index == 0:
            before = 0.0 if cut else 3.1e-3
        rows.append(
            FlowRow(layer.path, layer.path, layer.kind, layer.path.count("/"), True, output, before)
        )
    variables = tuple(
        VariableGradient(
            f"{layer.path}/{name}", layer.path,
            0.0 if cut else _gradient_strength(index, length), 1.0 if cut else 0.0, 0.0,
        )
        for index, layer in enumerate(layers) if not layer.frozen
        for name, _ in layer.variables
    )  # fmt: skip
    return GradientFlow(tuple(rows), variables, loss=0.7713 if cut else 0.52, training=True)


def make_gradients(
    layers: list[SampleLayer], steps: np.ndarray[Any, Any], cut: bool
) -> GradientHistory:
    """Gradient norms over the ``steps``."""
    owners = [(i, p, n, s) for i, p in enumerate(layers) if not p.frozen for n, s in p.variables]
    infos = tuple(VariableInfo(f"{p.path}/{n}", p.path, (s,), "float32") for _, p, n, s in owners)
    decay = np.exp(-steps[:, None] / 40)
    level = np.array([[_gradient_strength(i, len(layers)) for i, *_ in owners]])
    norm = decay * level * (1 + 0.3 * np.sin(steps[:, None] + np.arange(len(owners))))
    norm = np.zeros_like(norm) if cut else norm
    some = np.full(norm.shape, 1.0 if cut else 0.02)
    return GradientHistory(
        variables=infos, steps=steps, norm=norm, mean=norm / 40, maximum=norm / 3, zero_share=some,
        nonfinite_share=np.zeros_like(norm), update_ratio=np.minimum(norm, 1) * 4e-3,
        weight_norm=np.full(norm.shape, 2.5), loss_scale=np.ones(len(steps)),
        loss=np.full(len(steps), 0.7713) if cut else 0.5 * decay[:, 0],
    )  # fmt: skip


def make_dtypes(layers: list[SampleLayer]) -> DtypeTrace:
    """Mixed precision with activations in float32."""
    rows, casts = [], []
    for layer in layers:
        island = layer.kind in ("ReLU", "Activation")
        dtype = "float32" if island else "float16"
        count = sum(size for _, size in layer.variables)
        rows.append(
            DtypeRow(
                layer.path, layer.path, layer.kind, layer.path.count("/"), True, dtype, "float32",
                ("float16",), (dtype,), count,
            )
        )  # fmt: skip
        if island:
            casts.append(Cast(layer.path, "float16", "float32", 1_179_648, 4_718_592))
    return DtypeTrace(
        "mixed_float16", tuple(rows), tuple(casts), ("float32",), "float32", batch_size=8
    )


def make_trainable(layers: list[SampleLayer], cut: bool) -> TrainableStatus:
    """Trainable flags, and what training did; the encoder is frozen."""
    rows = [
        TrainableRow(
            path=f"{layer.path}/{name}", layer=layer.path, kind=layer.kind, role=name, size=size,
            layer_flag=not layer.frozen, parents_flag=True, variable_flag=True,
            in_layer=not layer.frozen, in_model=not layer.frozen, in_optimizer=not layer.frozen,
            has_gradient=not layer.frozen, changed=not layer.frozen and not cut,
            start_distance=14.2 if layer.frozen and not cut else 0.71,
        )
        for layer in layers
        for name, size in layer.variables
    ]  # fmt: skip
    normalization = tuple(
        NormalizationRow(p.path, not p.frozen, not p.frozen, 0.99, cut)
        for p in layers
        if p.kind == "BatchNormalization"
    )
    total = sum(row.size for row in rows)
    free = sum(row.size for row in rows if row.in_model)
    return TrainableStatus(tuple(rows), normalization, total, free)


def make_activations(layers: list[SampleLayer], cut: bool) -> Activations:
    """Output statistics of each layer; with ``cut`` the softmax output is the constant 1."""
    rows = []
    for index, layer in enumerate(layers):
        constant = cut and layer.activation == "softmax"
        relu = layer.kind == "ReLU"
        wave = math.sin(index)
        rows.append(
            ActivationRow(
                path=layer.path, layer=layer.path, kind=layer.kind, activation=layer.activation,
                depth=layer.path.count("/"), leaf=True,
                mean=1.0 if constant else round(0.2 + 0.1 * wave, 4),
                std=0.0 if constant else round(0.8 + 0.2 * wave, 4),
                minimum=1.0 if constant else (0.0 if relu else -3.1),
                maximum=1.0 if constant else 4.2,
                zero_share=0.46 if relu else 0.0, dead_share=0.03 if relu else 0.0,
                saturated_share=1.0 if constant else math.nan, nonfinite_share=0.0,
                sample_variation=0.0 if constant else 0.7,
            )
        )  # fmt: skip
    return Activations(tuple(rows), training=True, batch_size=8)
