"""SD117 on what looks like a bottleneck, and on what a kernel sees of a map of one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from saldiag.core.measurement import DataFacts, Wiring
from tests.faults import sd117_spatial_bottleneck as fault
from tests.support.judging import found, one, skipped
from tests.support.measurements import call, data, tensor, wiring

MEASURED = fault.broken()
NARROW = MEASURED.need(Wiring)
FACTS = MEASURED.need(DataFacts)


def _with(path: str, **fields: Any) -> Wiring:
    return wiring(*(replace(c, **fields) if c.path == path else c for c in NARROW.calls))


def test_it_names_the_layer_and_how_little_is_left() -> None:
    finding = one("SD117", NARROW, FACTS)
    assert finding.layers == ("pool",)
    assert finding.evidence["numbers"] == 16
    assert finding.evidence["places"] == 64
    assert "shrinks a feature map of 8x8 to 1x1" in finding.message


def test_global_pooling_is_a_bottleneck_too() -> None:
    assert one("SD117", _with("pool", output_shapes=((None, 16),)), FACTS).layers == ("pool",)


def test_enough_numbers_for_the_mask_are_no_bottleneck() -> None:
    assert found("SD117", _with("pool", output_shapes=((None, 1, 1, 32),)), FACTS) == []


def test_a_code_of_a_dense_layer_is_meant() -> None:
    whole = {"kernel_size": [8, 8], "padding": "valid"}
    assert found("SD117", _with("pool", kind="Conv2D", config=whole), FACTS) == []
    assert found("SD117", _with("pool", kind="Dense"), FACTS) == []


def test_of_an_autoencoder_it_does_not_judge() -> None:
    same = data(inputs=(tensor("image", 0.0, 1.0),))
    assert "autoencoder" in skipped("SD117", NARROW, same)


def test_targets_that_are_no_mask_are_left_alone() -> None:
    assert found("SD117", NARROW, data(targets=(tensor("depth", 0.0, 1.0),))) == []
    score = tensor("score", 0.0, 1.0, shape=(None, 1), distinct=2)
    assert found("SD117", NARROW, data(targets=(score,), predictions=(score,))) == []


def test_tiles_in_the_batch_keep_their_places() -> None:
    assert found("SD117", _with("encoder/conv", input_shapes=((None, 4, 4, 3),)), FACTS) == []


def test_a_kernel_on_one_place_is_a_note() -> None:
    place = ((None, 1, 1, 16),)
    last = call("last", "Conv2D", "pool", input_shapes=place, output_shapes=place,
                config={"kernel_size": [3, 3], "padding": "same"})  # fmt: skip
    other = data(targets=(tensor("depth", 0.0, 1.0),))
    finding = one("SD117", wiring(*NARROW.calls, last), other)
    assert finding.severity == "info"
    assert "8 of 9 kernel positions see only padding" in finding.message
    point = replace(last, config={"kernel_size": [1, 1]})
    assert found("SD117", wiring(*NARROW.calls, point), other) == []
