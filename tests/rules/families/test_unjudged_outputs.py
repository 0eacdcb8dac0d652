"""What the loss says of one output is not said of another that it takes no notice of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saldiag.core.measurement import IgnoredOutput
from tests.support.judging import found
from tests.support.measurements import CALLS, call, data, tensor, wiring

KIND = call("kind", "Dense", "body", activation="softmax")
OUTPUTS = (CALLS[-2].path, "kind")


def two(path: str, activation: str | None, **fields):
    """Two outputs; the one at ``path`` has that activation, and no loss."""
    calls = [*CALLS[:-1], KIND]
    calls = [replace(c, activation=activation) if c.path == path else c for c in calls]
    ignored = (IgnoredOutput("second", (path,)),)
    told = {"loss": "binary_crossentropy", "outputs": OUTPUTS, **fields}
    return wiring(*calls, **told), wiring(*calls, **told, ignored=ignored)


@pytest.mark.parametrize(
    ("code", "activation", "fields"),
    [
        ("SD102", "softmax", {"loss_config": {"from_logits": True}}),
        ("SD107", "tanh", {}),
        ("SD106", None, {}),
    ],
)
def test_an_output_without_a_loss(code, activation, fields):
    judged, ignored = two("kind", activation, **fields)
    outside = data(predictions=(tensor("first", 0.1, 0.9), tensor("second", -3.0, 4.0)))
    of_it = [f for f in found(code, judged, outside) if "kind" in f.layers]
    assert of_it
    assert not [f for f in found(code, ignored, outside) if "kind" in f.layers]
