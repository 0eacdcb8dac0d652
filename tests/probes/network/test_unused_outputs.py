"""Outputs that the loss takes no notice of, and inputs that lead nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support import models
from tests.support.judging import found, one

pytestmark = pytest.mark.tensorflow
keras = pytest.importorskip("keras")
from saldiag.core.measurement import IgnoredOutput  # noqa: E402
from tests.support.measurements import CALLS, wiring  # noqa: E402

X = np.zeros((4, 3), "float32")
Y = np.zeros((4, 1), "float32")


def surveyed(model, batch, **options):
    from saldiag_probes.survey import survey

    model.compile("sgd", jit_compile=False, **options)
    return survey(model, batch).wiring


def two_heads():
    shared = keras.layers.Dense(4, name="shared")
    heads = [keras.layers.Dense(1, name=name) for name in ("one", "two")]
    return models.functional((3,), lambda x: [head(shared(x)) for head in heads])


@pytest.mark.parametrize(
    ("options", "weight"),
    [
        ({"loss": ["mse", None]}, None),
        ({"loss": {"one": "mse", "two": None}}, None),
        ({"loss": ["mse", "mse"], "loss_weights": [1.0, 0.0]}, 0.0),
    ],
)
def test_an_output_without_a_loss_is_ignored(options, weight):
    assert surveyed(two_heads(), (X, (Y, Y)), **options).ignored == (
        IgnoredOutput("two", ("two",), weight),
    )


def test_an_output_that_feeds_another_is_not_ignored():
    code, end = keras.layers.Dense(2, name="code"), keras.layers.Dense(1, name="end")
    model = models.functional((3,), lambda x: [made := code(x), end(made)])
    assert surveyed(model, (X, (X[:, :2], Y)), loss=[None, "mse"]).ignored == ()


def test_an_output_whose_logits_a_cross_entropy_reads_is_not_ignored():
    def outputs(x):
        kind = keras.layers.Dense(2, "softmax", name="kind")
        return [kind(x), keras.layers.Dense(1, "sigmoid", name="sure")(x)]

    losses, data = ["categorical_crossentropy", "binary_crossentropy"], (X, (X[:, :2], Y))
    assert surveyed(models.functional((3,), outputs), data, loss=losses).ignored == ()
    alone = surveyed(models.functional((3,), outputs), data, loss=[losses[0], None])
    assert [output.name for output in alone.ignored] == ["sure"]


def test_an_input_that_no_output_depends_on_is_unused():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], keras.layers.Dense(1)(a))
    found = surveyed(model, ((X, X), Y), loss="mse")
    assert (found.unused, found.declared) == (("b",), True)
    model = keras.Model([a, b], keras.layers.Dense(1)(keras.layers.Add()([a, b])))
    assert surveyed(model, ((X, X), Y), loss="mse").unused == ()


def test_an_input_used_for_its_shape_alone_is_an_info():
    class Lengths(keras.layers.Layer):
        def call(self, x, like):
            return x + keras.ops.cast(keras.ops.arange(like.shape[1]), x.dtype)

    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    x = Lengths()(keras.layers.Dense(3)(a), b)
    measured = surveyed(keras.Model([a, b], keras.layers.Dense(1)(x)), ((X, X), Y), loss="mse")
    assert (measured.unused, measured.handed) == (("b",), ("b",))
    taken, left = wiring(*CALLS, unused=("b",), handed=("b",)), wiring(*CALLS, unused=("b",))
    severities = [one("SD119", replace(w, declared=True)).severity for w in (taken, left)]
    assert severities == ["info", "warning"]


def test_an_output_with_softmax_is_judged_by_its_logits():
    def outputs(x):
        kind = keras.layers.Dense(3, activation="softmax", name="kind")(x)
        return {"kind": kind, "sure": keras.ops.max(kind, axis=-1)}

    model = models.functional((3,), outputs)
    found = surveyed(
        model, (X, {"kind": Y[:, 0]}), loss={"kind": "sparse_categorical_crossentropy"}
    )
    assert [output.name for output in found.ignored] == ["max"]
    assert found.ignored[0].outputs == ()
    assert (found.judged, found.unjudged) == (("kind",), (1,))


def test_outputs_without_a_loss_are_no_output_layers():
    from saldiag.rules.shared.graph import Network

    def outputs(x):
        state = keras.layers.Dense(2, activation="tanh", name="state")(x)
        return [keras.layers.Dense(1, activation="sigmoid", name="answer")(state), state]

    model = models.functional((3,), outputs)
    found = surveyed(model, (X, (Y, X[:, :2])), loss=["binary_crossentropy", None])
    assert found.unjudged == (1,)
    assert [head.layer for head in Network(found).heads()] == ["answer"]
    model = models.functional((3,), outputs)
    found = surveyed(model, (X, (Y, X[:, :2])), loss="mse")
    assert (found.unjudged, len(Network(found).heads())) == ((), 2)


def test_a_layer_followed_by_operations_is_no_output_layer():
    from saldiag.rules.shared.graph import Network

    state = keras.layers.Dense(2, activation="tanh", name="state")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for outputs, computed in (
        (lambda h: keras.ops.matmul(h, np.ones((2, 4), "float32")), ("state",)),
        (lambda h: keras.ops.clip(keras.ops.reshape(h, (-1, 2)), -0.9, 0.9), ()),
        (lambda h: [h, 2.0 * h], ()),
    ):
        model = models.functional((3,), lambda x, outputs=outputs: outputs(state(x)))
        several = len(model.outputs) > 1
        found = surveyed(model, (X, (Y, Y) if several else Y), loss="mse" if several else loss)
        assert found.computed == computed
        assert [head.layer for head in Network(found).heads()] == ([] if computed else ["state"])


def test_an_ignored_output_without_layers_of_its_own_is_an_info():
    shown = IgnoredOutput("maps", ("encoder/relu",))
    assert one("SD118", wiring(*CALLS, ignored=(shown,))).severity == "info"


def test_unused_data_entries_are_an_info():
    assert one("SD119", wiring(*CALLS, unused=("input 1",))).severity == "info"
    assert found("SD119", wiring(*CALLS, unused=("b",), own_training=True)) == []


class TestLossesOfOutputs:
    @staticmethod
    def heads(make, loss, targets):
        value = keras.layers.Dense(1, name="value")
        kind = keras.layers.Dense(3, activation="softmax", name="kind")
        model = models.functional((3,), lambda x: make(value(x), kind(x)))
        return surveyed(model, (X, targets), loss=loss).losses

    def test_are_listed_with_their_positions_by_list_and_by_name(self):
        listed = self.heads(
            lambda v, k: [v, k], ["mse", "sparse_categorical_crossentropy"], (Y, Y[:, 0])
        )
        named = self.heads(
            lambda v, k: {"value": v, "kind": k},
            {"value": "mse", "kind": "sparse_categorical_crossentropy"},
            {"value": Y, "kind": Y[:, 0]},
        )
        for losses in (listed, named):
            assert {each.loss: each.outputs for each in losses} == {
                "mean_squared_error": ("value",),
                "sparse_categorical_crossentropy": ("kind",),
            }
        assert [each.places for each in listed] == [(0,), (1,)]
        # The names of a dictionary are sorted, and so are the targets.
        assert {each.loss: each.places for each in named}["mean_squared_error"] == (1,)

    def test_are_none_where_there_is_one_for_all(self):
        assert self.heads(lambda v, k: [v, k], "mse", (Y, X)) == ()

    def test_of_one_name_differ_by_their_settings(self):
        cross = keras.losses.BinaryCrossentropy
        found = self.heads(
            lambda v, k: [v, k], [cross(from_logits=True), cross()], (Y, (X > 0).astype("float32"))
        )
        assert [each.config["from_logits"] for each in found] == [True, False]

    def test_leave_out_an_output_without_one(self):
        heads = [keras.layers.Dense(1, name=name) for name in ("a", "b", "c")]
        model = models.functional((3,), lambda x: [head(x) for head in heads])
        found = surveyed(model, (X, (Y, Y, Y)), loss=["mse", None, "mae"]).losses
        assert [(each.outputs, each.places) for each in found] == [(("a",), (0,)), (("c",), (1,))]

    def test_of_one_output_all_have_its_place(self):
        model = models.dense(3, 1, name="one")
        found = surveyed(model, (X, Y), loss=["mse", "mae"]).losses
        assert [(each.outputs, each.places) for each in found] == [(("one",), (0,))] * 2
