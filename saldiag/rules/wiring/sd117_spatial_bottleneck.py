"""SD117: all that a mask is made from went through one place."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds, source_of
from saldiag.core.measurement import DataFacts, LayerCall, Measurements, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import at, counted, label, listed, number

GLOBAL = frozenset({"GlobalAveragePooling2D", "GlobalMaxPooling2D"})
WITH_KERNEL = frozenset({"Conv2D", "DepthwiseConv2D", "SeparableConv2D"})
SHRINKING = GLOBAL | WITH_KERNEL | {"AveragePooling2D", "MaxPooling2D"}


class SpatialBottleneck(Rule):
    """All that a mask is made from went through a feature map of one place.

    ## What it does
    Where a picture goes in and a mask comes out, looks for a convolution or pooling that shrinks
    its map to 1x1 and stands on every way from the input to the output. It speaks where fewer
    numbers are left than half of the mask's places. Ways around it (a U-Net's, a gate's), codes
    made by a dense layer, and autoencoders are left alone. As a note, it also names convolutions
    whose kernel works on a map of one place, where all but one of its weights see only padding.

    ## Why is this bad
    A mask says where things are. One place holds what is in the picture, and the layers after it
    have to make up the edges: masks come out as blobs, or as the mean mask.

    ## Example
    ```python
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(encoder(image))
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(upsample(x))
    ```

    ## Use instead
    ```python
    x = encoder(image)  # a map that keeps its places
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(upsample(x))
    ```

    ## Threshold
    - `numbers_per_place` = 0.5: numbers at the one place for each place of the mask (own choice;
      why masks need ways around the coarse map: Long, Shelhamer & Darrell, Fully Convolutional
      Networks, 2015, section 4; Ronneberger, Fischer & Brox, U-Net, 2015).
    """

    code = "SD117"
    name = "spatial-bottleneck"
    severity = "warning"
    requires = (Wiring,)
    thresholds = {"numbers_per_place": 0.5}
    explains = {"SD801": "anywhere", "SD802": "anywhere", "SD803": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        network = Network(measured.need(Wiring))
        blind = [call for call in network.leaves.values() if _sees_padding(call)]
        if blind:
            yield self._blind(measured, blind)
        places = _places(measured, network)
        narrow = [call for call in network.leaves.values() if _shrinks_to_one(call)]
        for call in narrow if places else ():
            left = prod(size or 0 for size in call.output_shapes[0][1:])
            few = left < limits["numbers_per_place"] * places
            if few and _on_every_way(network, call.path) and _whole(measured, network, call):
                yield self._narrow(measured, call, left, places, limits)
                return

    def _narrow(
        self, measured: Measurements, call: LayerCall, left: int, places: int, limits: Thresholds
    ) -> Finding:
        source, before = source_of(measured, call.layer), call.input_shapes[0]
        return self.finding(
            f"{label(call.layer)}: shrinks {before[1]}x{before[2]} places to one, and no way leads "
            f"around it: {left} numbers for a mask of {places} places, {number(left / places)} "
            f"for each (threshold {number(limits['numbers_per_place'])}). Stop shrinking earlier, "
            f"or hand finer maps around it{at(source)}",
            "x = keras.layers.Concatenate()([x, finer])  # a skip connection, after upsampling",
            layers=(call.layer,),
            evidence={
                "numbers": left,
                "places": places,
                "numbers_per_place": left / places,
                "threshold": limits["numbers_per_place"],
            },
            source=source,
        )

    def _blind(self, measured: Measurements, calls: list[LayerCall]) -> Finding:
        layers = tuple(dict.fromkeys(call.layer for call in calls))
        source, taps = source_of(measured, layers[0]), prod(_kernel(calls[0]))
        return self.finding(
            f"{counted(len(layers), 'convolution')} on a map of one place: {listed(layers)}; "
            f"{taps - 1} of {taps} places of the kernel see only padding (threshold 1 place). "
            f"Shrink less before, or take a kernel of 1{at(source)}",
            f"kernel_size=1  # in {label(layers[0])}",
            layers=layers,
            evidence={"layers": len(layers), "kernel": taps, "unused": taps - 1, "threshold": 1},
            source=source,
            severity="info",
        )


def _kernel(call: LayerCall) -> tuple[int, ...]:
    size = call.config.get("kernel_size")
    return tuple(size) if isinstance(size, (list, tuple)) else (int(size or 1),) * 2


def _map(call: LayerCall, shapes: tuple[tuple[int | None, ...], ...]) -> int | None:
    """The places of the only picture-like tensor in ``shapes``; None for any other."""
    if len(shapes) != 1 or len(shapes[0]) != 4 or _channels_first(call):
        return None
    _, height, width, _ = shapes[0]
    return height * width if height and width else None


def _channels_first(call: LayerCall) -> bool:
    return call.config.get("data_format") == "channels_first"


def _sees_padding(call: LayerCall) -> bool:
    return call.kind in WITH_KERNEL and _map(call, call.input_shapes) == 1 < prod(_kernel(call))


def _shrinks_to_one(call: LayerCall) -> bool:
    before = _map(call, call.input_shapes)
    one = _map(call, call.output_shapes) == 1 or (
        call.kind in GLOBAL and [len(shape) for shape in call.output_shapes] == [2]
    )
    shrinks = call.kind in SHRINKING and not _is_dense(call)
    return shrinks and one and before is not None and before > 1


def _is_dense(call: LayerCall) -> bool:
    """Whether it is a dense layer put as a convolution: each place has weights of its own."""
    whole = _kernel(call) == call.input_shapes[0][1:3] if call.input_shapes else False
    return call.kind == "Conv2D" and whole and call.config.get("padding") == "valid"


def _places(measured: Measurements, network: Network) -> int:
    """The places of the mask that the model is to make of a picture; 0 where there is none.

    Raises:
        CannotJudge: what the model is to make cannot be told from its data.
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
        raise CannotJudge("input and target are of one shape, as those of an autoencoder")
    return (made[1] or 0) * (made[2] or 0)


def _on_every_way(network: Network, path: str) -> bool:
    """Whether nothing of the input comes to the output but through the call at ``path``."""
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


def _whole(measured: Measurements, network: Network, call: LayerCall) -> bool:
    """Whether the call sees the picture as it came in.

    Operations between layers can cut it into tiles that lie in the batch; then each tile has a
    place of its own.
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
