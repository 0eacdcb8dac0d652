"""The network of the sample reports: QUICKSAL's layers, with numbers made by formula.

Nothing here is measured. The numbers are smooth functions of the position in the network, so that
the samples are the same on every machine.
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
class Place:
    """One layer of the sample network: what it is and what it holds."""

    path: str
    kind: str
    variables: tuple[tuple[str, int], ...] = ()
    frozen: bool = False
    activation: str | None = None


def _encoder() -> list[Place]:
    places = [Place("encoder/Conv1", "Conv2D", (("kernel", 864),), frozen=True)]
    for number in range(1, 17):
        stem = f"encoder/block_{number}"
        width = 24 * (1 + number // 3)
        for part, kind in (("expand", "Conv2D"), ("depthwise", "DepthwiseConv2D")):
            kernel = (("kernel", width * 54),)
            places.append(Place(f"{stem}_{part}", kind, kernel, frozen=True))
            norm = (("gamma", width * 6), ("beta", width * 6))
            places.append(Place(f"{stem}_{part}_BN", "BatchNormalization", norm, frozen=True))
            places.append(Place(f"{stem}_{part}_relu", "ReLU", activation="relu6"))
    return places


def _inception(number: int, width: int) -> list[Place]:
    stem = f"inception_{number}"
    places = [Place(f"{stem}/expand", "Conv2D", (("kernel", width * width * 6),))]
    for branch in (1, 3, 5, 7)[: 2 + (number < 5) + (number < 3)]:
        kernel = (("kernel", branch * branch * width * 6),)
        places.append(Place(f"{stem}/depthwise_{branch}", "DepthwiseConv2D", kernel))
        norm = (("gamma", width * 6), ("beta", width * 6))
        places.append(Place(f"{stem}/depthwise_{branch}_bn", "BatchNormalization", norm))
    places.append(Place(f"{stem}/relu", "ReLU", activation="relu"))
    places.append(Place(f"{stem}/project", "Conv2D", (("kernel", width * width * 12),)))
    places.append(Place(f"{stem}/upsample", "Conv2DTranspose", (("kernel", width * width * 9),)))
    return places


def network(head: str) -> list[Place]:
    """Encoder, five inception blocks and a head that ends in ``head``."""
    places = _encoder()
    for number, width in ((5, 96), (4, 32), (3, 24), (2, 16), (1, 16)):
        places += _inception(number, width)
    places.append(Place("Convf1", "Conv2DTranspose", (("kernel", 1152),)))
    places.append(Place("Convf2", "Conv2DTranspose", (("kernel", 72),), activation=head))
    if head == "softmax":
        places.append(Place("softmax_output", "Activation", activation="softmax"))
    return places


def wiring(model: str, places: list[Place]) -> Wiring:
    """The calls in order, each fed by the one before."""
    calls = tuple(
        LayerCall(
            path=place.path,
            layer=place.path,
            kind=place.kind,
            depth=place.path.count("/"),
            leaf=True,
            inputs=(places[index - 1].path if index else "",),
            input_shapes=((None, 96, 96, 16),),
            output_shapes=((None, 96, 96, 1 if index > len(places) - 3 else 16),),
            activation=place.activation,
            axis=-1 if place.activation == "softmax" else None,
            trainable=not place.frozen,
            parameters=sum(size for _, size in place.variables),
            source=Source(FILE, 40 + index) if index > len(places) - 4 else None,
        )
        for index, place in enumerate(places)
    )
    total = sum(call.parameters for call in calls)
    free = sum(call.parameters for call in calls if call.trainable)
    return Wiring(
        model=model, calls=calls, outputs=(calls[-1].path,), loss="mae", loss_config={},
        optimizer="adam", learning_rate=1e-3, precision="mixed_float16", loss_scaled=True,
        parameters=total, trainable_parameters=free,
    )  # fmt: skip


def _strength(index: int, length: int) -> float:
    return 10 ** (-2.6 + 2.1 * index / length + 0.35 * math.sin(index * 1.7))


def flow(places: list[Place], cut: bool) -> GradientFlow:
    """Gradient along the network; with ``cut`` the last layer lets none through."""
    length = len(places)
    rows = []
    for index, place in enumerate(places):
        last = index == length - 1
        dead = cut and not last
        output = 0.0 if dead else _strength(index + 1, length)
        before = 0.0 if cut else _strength(index, length)
        if index == 0:
            before = 0.0 if cut else 3.1e-3
        rows.append(
            FlowRow(place.path, place.path, place.kind, place.path.count("/"), True, output, before)
        )
    variables = tuple(
        VariableGradient(
            f"{place.path}/{name}", place.path,
            0.0 if cut else _strength(index, length), 1.0 if cut else 0.0, 0.0,
        )
        for index, place in enumerate(places) if not place.frozen
        for name, _ in place.variables
    )  # fmt: skip
    return GradientFlow(tuple(rows), variables, loss=0.7713 if cut else 0.52, training=True)


def gradients(places: list[Place], steps: np.ndarray[Any, Any], cut: bool) -> GradientHistory:
    """Gradient norms over the ``steps``."""
    owners = [(i, p, n, s) for i, p in enumerate(places) if not p.frozen for n, s in p.variables]
    infos = tuple(VariableInfo(f"{p.path}/{n}", p.path, (s,), "float32") for _, p, n, s in owners)
    decay = np.exp(-steps[:, None] / 40)
    level = np.array([[_strength(i, len(places)) for i, *_ in owners]])
    norm = decay * level * (1 + 0.3 * np.sin(steps[:, None] + np.arange(len(owners))))
    norm = np.zeros_like(norm) if cut else norm
    some = np.full(norm.shape, 1.0 if cut else 0.02)
    return GradientHistory(
        variables=infos, steps=steps, norm=norm, mean=norm / 40, maximum=norm / 3, zero_share=some,
        nonfinite_share=np.zeros_like(norm), update_ratio=np.minimum(norm, 1) * 4e-3,
        weight_norm=np.full(norm.shape, 2.5), loss_scale=np.ones(len(steps)),
        loss=np.full(len(steps), 0.7713) if cut else 0.5 * decay[:, 0],
    )  # fmt: skip


def dtypes(places: list[Place]) -> DtypeTrace:
    """Mixed precision with float32 islands at the activations."""
    rows, casts = [], []
    for place in places:
        island = place.kind in ("ReLU", "Activation")
        dtype = "float32" if island else "float16"
        count = sum(size for _, size in place.variables)
        rows.append(
            DtypeRow(
                place.path, place.path, place.kind, place.path.count("/"), True, dtype, "float32",
                ("float16",), (dtype,), count,
            )
        )  # fmt: skip
        if island:
            casts.append(Cast(place.path, "float16", "float32", 1_179_648, 4_718_592))
    return DtypeTrace(
        "mixed_float16", tuple(rows), tuple(casts), ("float32",), "float32", batch_size=8
    )


def trainable(places: list[Place], cut: bool) -> TrainableStatus:
    """Each variable's flags and facts; the encoder is frozen."""
    rows = [
        TrainableRow(
            path=f"{place.path}/{name}", layer=place.path, kind=place.kind, role=name, size=size,
            layer_flag=not place.frozen, parents_flag=True, variable_flag=True,
            in_layer=not place.frozen, in_model=not place.frozen, in_optimizer=not place.frozen,
            has_gradient=not place.frozen, changed=not place.frozen and not cut,
            start_distance=14.2 if place.frozen and not cut else 0.71,
        )
        for place in places
        for name, size in place.variables
    ]  # fmt: skip
    normalization = tuple(
        NormalizationRow(p.path, not p.frozen, not p.frozen, 0.99, cut)
        for p in places
        if p.kind == "BatchNormalization"
    )
    total = sum(row.size for row in rows)
    free = sum(row.size for row in rows if row.in_model)
    return TrainableStatus(tuple(rows), normalization, total, free)


def activations(places: list[Place], cut: bool) -> Activations:
    """Output statistics of each layer; with ``cut`` the softmax gives the constant 1."""
    rows = []
    for index, place in enumerate(places):
        constant = cut and place.activation == "softmax"
        relu = place.kind == "ReLU"
        wave = math.sin(index)
        rows.append(
            ActivationRow(
                path=place.path, layer=place.path, kind=place.kind, activation=place.activation,
                depth=place.path.count("/"), leaf=True,
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
