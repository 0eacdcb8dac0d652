"""SD117: a mask is made from a feature map of a single position."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LayerCall, Measurements, Wiring
from saldiag.core.wording import at_line, counted, label, listed, number
from saldiag.rules.shared.graph import Network

GLOBAL = frozenset({"GlobalAveragePooling2D", "GlobalMaxPooling2D"})
WITH_KERNEL = frozenset({"Conv2D", "DepthwiseConv2D", "SeparableConv2D"})
SHRINKING = GLOBAL | WITH_KERNEL | {"AveragePooling2D", "MaxPooling2D"}


class SpatialBottleneck(Rule):
    """Every path from the image to the mask goes through a 1x1 feature map.

    ## What it does
    In a model that makes a mask from an image, looks for a convolution or pooling that shrinks its
    feature map to 1x1 and is on every path from the input to the output. It is reported if the 1x1
    map has fewer numbers than half the pixels of the mask. Not reported are models with a path
    around it (skip connections as in a U-Net, gates), codes made by a dense layer, and
    autoencoders. Also reports, as an info, convolutions on a 1x1 feature map, where all but one
    weight of the kernel see only padding.

    ## Why is this bad
    A mask says where things are. A single position holds what is in the image, and the layers after
    it must guess the edges: the masks become blobs, or the mean mask.

    ## Example
    ```python
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(encoder(image))
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(upsample(x))
    ```

    ## Use instead
    ```python
    x = encoder(image)  # a feature map that keeps its positions
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(upsample(x))
    ```

    ## Threshold
    - `numbers_per_place` = 0.5: numbers in the 1x1 map per pixel of the mask (our choice; why masks
      need paths around the coarse map: Long, Shelhamer & Darrell, Fully Convolutional Networks,
      2015, section 4; Ronneberger, Fischer & Brox, U-Net, 2015).
    """

    code = "SD117"
    name = "spatial-bottleneck"
    severity = "warning"
    requires = (Wiring,)
    thresholds = {"numbers_per_place": 0.5}
    explains = {"SD801": "anywhere", "SD802": "anywhere", "SD803": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        network = Network(measured.need(Wiring))
        blind = [call for call in network.leaves.values() if _kernel_sees_only_padding(call)]
        if blind:
            yield self._finding_of_kernels(measured, blind)
        pixels = _mask_pixels(measured, network)
        narrow = [call for call in network.leaves.values() if _shrinks_to_one_position(call)]
        for call in narrow if pixels else ():
            left = prod(size or 0 for size in call.output_shapes[0][1:])
            few = left < limits["numbers_per_place"] * pixels
            if (
                few
                and _is_on_every_path(network, call.path)
                and _sees_whole_image(measured, network, call)
            ):
                yield self._finding_of_bottleneck(measured, call, left, pixels, limits)
                return

    def _finding_of_bottleneck(
        self, measured: Measurements, call: LayerCall, left: int, pixels: int, limits: Thresholds
    ) -> Finding:
        source, before = source_of(measured, call.layer), call.input_shapes[0]
        return self.finding(
            f"{label(call.layer)}: shrinks a feature map of {before[1]}x{before[2]} to 1x1, and no "
            f"path goes around it: {left} numbers for a mask of {pixels} pixels, "
            f"{number(left / pixels)} per pixel (threshold {number(limits['numbers_per_place'])}). "
            f"Shrink less, or add a skip connection around it{at_line(source)}",
            "x = keras.layers.Concatenate()([x, finer])  # a skip connection, after upsampling",
            layers=(call.layer,),
            evidence={
                "numbers": left,
                "places": pixels,
                "numbers_per_place": left / pixels,
                "threshold": limits["numbers_per_place"],
            },
            source=source,
        )

    def _finding_of_kernels(self, measured: Measurements, calls: list[LayerCall]) -> Finding:
        layers = tuple(dict.fromkeys(call.layer for call in calls))
        source, taps = source_of(measured, layers[0]), prod(_kernel_size(calls[0]))
        return self.finding(
            f"{listed(layers)}: {counted(len(layers), 'convolution')} on a 1x1 feature map, where "
            f"{taps - 1} of {taps} kernel positions see only padding (threshold 1 position). "
            f"Shrink less before, or use kernel_size=1{at_line(source)}",
            f"kernel_size=1  # in {label(layers[0])}",
            layers=layers,
            evidence={"layers": len(layers), "kernel": taps, "unused": taps - 1, "threshold": 1},
            source=source,
            severity="info",
        )


def _kernel_size(call: LayerCall) -> tuple[int, ...]:
    size = call.config.get("kernel_size")
    return tuple(size) if isinstance(size, (list, tuple)) else (int(size or 1),) * 2


def _map_positions(call: LayerCall, shapes: tuple[tuple[int | None, ...], ...]) -> int | None:
    """Height times width, if ``shapes`` is one feature map of known size; else None."""
    if len(shapes) != 1 or len(shapes[0]) != 4 or _is_channels_first(call):
        return None
    _, height, width, _ = shapes[0]
    return height * width if height and width else None


def _is_channels_first(call: LayerCall) -> bool:
    return call.config.get("data_format") == "channels_first"


def _kernel_sees_only_padding(call: LayerCall) -> bool:
    """Whether a kernel larger than 1x1 runs over a 1x1 map: all but one weight see padding."""
    one = _map_positions(call, call.input_shapes) == 1
    return call.kind in WITH_KERNEL and one and prod(_kernel_size(call)) > 1


def _shrinks_to_one_position(call: LayerCall) -> bool:
    before = _map_positions(call, call.input_shapes)
    one = _map_positions(call, call.output_shapes) == 1 or (
        call.kind in GLOBAL and [len(shape) for shape in call.output_shapes] == [2]
    )
    shrinks = call.kind in SHRINKING and not _is_dense_layer(call)
    return shrinks and one and before is not None and before > 1


def _is_dense_layer(call: LayerCall) -> bool:
    """Whether a convolution equals a dense layer: its kernel covers the whole input, unpadded."""
    whole = _kernel_size(call) == call.input_shapes[0][1:3] if call.input_shapes else False
    return call.kind == "Conv2D" and whole and call.config.get("padding") == "valid"


def _mask_pixels(measured: Measurements, network: Network) -> int:
    """Height times width of the mask, if the model makes a mask from an image; else 0.

    Raises:
        CannotJudge: input and target have one shape, and the model can be an autoencoder.
    """
    facts = measured.get(DataFacts)
    if facts is None:
        return 0
    tensors = (facts.inputs, facts.targets, facts.predictions)
    if any(len(some) != 1 for some in tensors) or len(network.outputs) != 1:
        return 0
    image, target, made = (some[0].shape for some in tensors)
    if len(image) != 4 or len(made) != 4 or len(target) not in (3, 4):
        return 0
    sparse = measured.need(Wiring).loss == "sparse_categorical_crossentropy"
    if not sparse and facts.targets[0].distinct != 2:
        return 0
    if image[1:] == target[1:]:
        raise CannotJudge("input and target have the same shape, as in an autoencoder")
    return (made[1] or 0) * (made[2] or 0)


def _is_on_every_path(network: Network, path: str) -> bool:
    """Whether every path from the input to the output goes through the call at ``path``."""
    seen, queue = {path}, list(network.outputs)
    while queue:
        call = network.leaves.get(queue.pop())
        if call is None or call.path in seen:
            continue
        seen.add(call.path)
        if "" in call.inputs:
            return False
        queue.extend(call.inputs)
    return path in network.upstream(network.outputs)


def _sees_whole_image(measured: Measurements, network: Network, call: LayerCall) -> bool:
    """Whether every call up to this one takes the shapes that the calls before it return.

    If not, operations between layers can have cut the image into tiles along the batch axis, and
    each tile then has its own position.
    """
    image = measured.need(DataFacts).inputs[0].shape[1:]
    for path in network.upstream([call.path]):
        taken = network.leaves[path]
        given = {
            shape[1:]
            for source in taken.inputs
            for shape in (network.leaves[source].output_shapes if source else ((None, *image),))
        }
        if not {shape[1:] for shape in taken.input_shapes} <= given:
            return False
    return True
